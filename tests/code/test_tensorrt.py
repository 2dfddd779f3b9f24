"""C++ for Jetsons and RTX GPUs: compiled with NVIDIA's own headers and compiler where they are; run with stand-ins for CUDA and
TensorRT, because there is no GPU here."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.programs import STRICT
from edgec.artefact.drift import read_drift
from edgec.artefact.reading import open_artefact
from edgec.backends.jetson.robot_code import tensorrt_robot_code
from edgec.code.generating import CodeRequest, generate
from edgec.frames import fit
from edgec.model.spec import Size
from tests.code.test_generating import hostile_project
from tests.code.test_programs import raw
from tests.running.conftest import reddish
from tests.support import forging, yuv
from tests.support.meaning import ENTRY, HEIGHT, WIDTH, write_meaning

HERE = Path(__file__).with_name("nvidia")
HEADERS = Path(os.environ.get("EDGEC_TENSORRT_HEADERS", "none"))
"""A folder with NVIDIA's headers, those of each version in a folder of its own."""
SHIPPED = "runtime/model.engine"
FAMILIES = {"jetson": "device/edgec-device.pyz", "rtx": "device/edgec-rtx.pyz"}
Frames = NDArray[np.uint8]


def write_tensorrt(folder: Path, family: str, batch: int = 1) -> Path:
    """An artefact of the family. Its graph is one for ONNX Runtime: what is run here is no engine anyway. Jetson's is calibrated
    on reddish frames, the others record nothing of theirs."""
    artefact = write_meaning(folder, batch=batch, like=[reddish(seed) for seed in range(40 * (family == "jetson"))])
    (artefact / "device").mkdir()
    (artefact / FAMILIES[family]).write_bytes(b"the board's program")
    (artefact / "runtime" / "other.onnx").write_bytes(b"another variant")
    variant: dict[str, Any] = {"name": "fp32", "path": ENTRY, "tensorrt": {"min": "8.6", "below": "12"}}
    if family == "rtx":
        (artefact / SHIPPED).write_text(described(artefact))
        variant["engine"] = {"path": SHIPPED, "version": "1.7.1.116", "compute_capabilities": ["8.6"]}
    (artefact / forging.BUNDLE).write_text(json.dumps({"variants": [variant], "files": []}))
    forging.edit(artefact / "manifest.json", lambda manifest: manifest.update(runtime="tensorrt", target=family))
    forging.list_again(artefact)
    return artefact


def described(artefact: Path, golden: Path | None = None) -> str:
    """An engine for the stand-in. `golden`: the project's folder with what it gives back; without, it makes up numbers."""
    facts = json.loads((artefact / "manifest.json").read_text())
    lines = [f"stand-in frames {golden / 'frames.bin' if golden else '-'}"]
    for mode, tensor in (("input", facts["input"]), *(("output", output) for output in facts["outputs"])):
        recorded = golden / f"{tensor['name']}.bin" if golden else "-"
        sides = " ".join(map(str, tensor["shape"]))
        lines.append(f"{mode} {tensor['name']} {tensor['dtype']} {len(tensor['shape'])} {sides} {recorded}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Program:
    """A program that was built with the stand-ins, and its project."""

    path: Path
    project: Path
    artefact: Path

    def run(self, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.path), *map(str, words)]
        return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60)

    def computed(self, frames: Path, *words: str, **environment: str) -> tuple[bytes, dict[str, Any]]:
        """All outputs, and the figures."""
        place = self.project.with_suffix(".outputs")
        done = self.run("--json", "--output", place, *words, frames, **environment)
        assert done.returncode == 0, done.stderr
        return place.read_bytes(), json.loads(done.stdout)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Program]:
    """By family and batch."""

    @cache
    def program(family: str, batch: int = 1) -> Program:
        folder = tmp_path_factory.mktemp(family)
        artefact = write_tensorrt(folder / "robot.edgec", family, batch)
        project = generate(CodeRequest(artefact, "cpp")).directory
        (project / "artefact" / "engine.plan").write_text(described(artefact, project / "artefact" / "golden"))
        sources = Path(shutil.copytree(project, folder / "sources"))
        launch = (HERE / "launch.cuh").read_text().replace("NAMESPACE", "robot")
        (sources / "include" / "robot" / "launch.cuh").write_text(launch)
        compile_(
            "c++", "-O0", *STRICT[1:], "-std=c++17", f'-DEDGEC_ARTEFACT="{project / "artefact"}"', "-Iinclude", f"-I{HERE}",
            "src/main.cpp", HERE / "standin.cpp", "-x", "c++", "src/kernels.cu", "-o", folder / "run-frames", cwd=sources,
        )  # fmt: skip
        return Program(folder / "run-frames", project, artefact)

    return program


def compile_(compiler: str, *words: str | Path, cwd: Path) -> None:
    """Skips without this compiler; fails with what it says."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    command = [compiler, *map(str, words)]
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout


def made_up(artefact: Path, batches: Frames) -> bytes:
    """What the stand-in gives for frames of which nothing was recorded: frame after frame, every output."""
    outputs = open_artefact(artefact).manifest.outputs
    count = sum(int(np.prod(output.shape)) for output in outputs)
    answers = []
    for batch in batches.reshape(-1, *open_artefact(artefact).manifest.input.shape):
        flat = batch.reshape(-1).astype(int)
        numbers = flat[np.arange(count) % flat.size] + 256 * flat[(np.arange(count) + count) % flat.size]
        parts = np.split(numbers, np.cumsum([np.prod(output.shape) for output in outputs])[:-1])
        typed = [part.astype(output.dtype).reshape(output.shape) for part, output in zip(parts, outputs, strict=True)]
        answers += [b"".join(values[index].tobytes() for values in typed) for index in range(len(batch))]
    return b"".join(answers)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_project_holds_one_graph_and_says_that_no_gpu_has_run_it(family: str, tmp_path: Path) -> None:
    project = generate(CodeRequest(write_tensorrt(tmp_path / "robot.edgec", family), "cpp"))
    here = {path.relative_to(project.directory).as_posix() for path in project.directory.rglob("*") if path.is_file()}
    assert f"artefact/{ENTRY}" in here
    assert "artefact/runtime/other.onnx" not in here
    assert (f"artefact/{SHIPPED}" in here) == (family == "rtx")
    assert {"src/kernels.cu", "src/make_engine.cpp", "cmake/FindTensorRTLibrary.cmake"} <= set(project.files)
    readme = (project.directory / "README.md").read_text()
    assert "No board and no GPU has run this yet" in readme
    assert ("TensorRT 8.6 and newer, below 12" in readme) == (family == "jetson")
    assert ("1.7.1.116" in readme) == (family == "rtx")
    # An engine that was made in the project is no change of it.
    (project.directory / "artefact" / "engine.plan").touch()
    generate(CodeRequest(tmp_path / "robot.edgec", "cpp", force=True))


def test_nothing_is_ready_before_its_engine_gave_what_was_recorded(programs: Callable[..., Program], tmp_path: Path) -> None:
    program = programs("jetson", 2)
    done = program.run()
    assert done.returncode == 0, done.stderr
    assert "TensorRT 10.3.0" in done.stdout
    assert "2 golden frames as recorded" in done.stdout
    whole = described(program.artefact, program.project / "artefact" / "golden")
    for code, said, text in (
        (9, "does not compute here what was recorded", described(program.artefact)),
        (10, "this is no engine", "another file"),
        (8, "cls has another shape", whole.replace("cls float32 2 2 8", "cls float32 2 2 9")),
        (8, "where has another type", whole.replace("where int32", "where float32")),
        (8, "bright is missing", whole.replace("bright", "dark")),
        (8, "another number of tensors", whole + "output more float32 1 3 -\n"),
        (10, "failed on a frame", whole + "fails"),
    ):
        (tmp_path / "engine").write_text(text)
        done = program.run("--engine", tmp_path / "engine")
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    done = program.run("--engine", tmp_path / "none")
    assert (done.returncode, "make-engine" in done.stderr) == (8, True)
    done = program.run(STANDIN_NO_GPU="1")
    assert (done.returncode, "cudaErrorNoDevice" in done.stderr) == (10, True)


def test_an_engine_that_came_with_the_artefact_is_used_until_another_is_made(programs: Callable[..., Program]) -> None:
    program = programs("rtx")
    made = program.project / "artefact" / "engine.plan"
    content = made.read_text()
    made.unlink()
    assert program.run().returncode == 9  # the one that came makes up its numbers
    made.write_text(content)
    assert program.run().returncode == 0


@pytest.mark.parametrize("environment", [{}, {"STANDIN_NO_GRAPH": "1"}])
def test_frames_reach_the_engine_with_and_without_a_graph(
    environment: Mapping[str, str], programs: Callable[..., Program], tmp_path: Path
) -> None:
    program = programs("jetson", 2)
    frames = np.random.default_rng(8).integers(0, 256, (5, HEIGHT, WIDTH, 3), dtype=np.uint8)
    outputs, said = program.computed(raw(tmp_path / "frames", frames), **environment)
    assert said["graph"] == (not environment)
    assert said["frames"] == 5
    opened, size = open_artefact(program.artefact), len(outputs) // 5
    tokens = [np.frombuffer(outputs, np.float32, opened.manifest.outputs[0].shape[1], size * frame) for frame in range(5)]
    drift = read_drift(opened, opened.sizes[0].facts)
    assert drift is not None
    scores = [drift.score({"cls": token}) for token in tokens]
    assert said["drift"] == {"alarms": sum(score > 1 for score in scores), "largest": pytest.approx(max(scores), rel=1e-4)}
    filled = np.concatenate([frames, frames[-1:]])
    assert outputs == made_up(program.artefact, filled)[: len(outputs)]
    assert len(outputs) == 5 * len(made_up(program.artefact, filled)) // 6


@pytest.mark.parametrize("crop", ["centre", "resize", "pad"])
def test_the_gpus_arithmetic_fits_frames_byte_for_byte_as_edgec_run_does(
    crop: Any, programs: Callable[..., Program], tmp_path: Path
) -> None:
    program, random = programs("rtx"), np.random.default_rng(0)
    for rows, columns in ((97, 200), (301, 125), (11, 7), (HEIGHT, WIDTH + 1), (HEIGHT - 1, WIDTH), (HEIGHT, WIDTH)):
        frame = random.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        path = raw(tmp_path / "frame", frame[None, ..., ::-1], 5)
        size = ("--frame", f"{rows}x{columns}", "--stride", str(3 * columns + 5))
        outputs, _ = program.computed(path, "--crop", crop, "--format", "bgr", *size)
        assert outputs == made_up(program.artefact, fit(frame, Size(HEIGHT, WIDTH), crop)), (rows, columns)


@pytest.mark.parametrize("colours", ["bt601", "bt601-full", "bt709", "bt709-full"])
@pytest.mark.parametrize("layout", ["nv12", "nv21", "yuyv", "uyvy"])
def test_yuv_becomes_the_colours_that_it_stands_for(
    layout: str, colours: str, programs: Callable[..., Program], tmp_path: Path
) -> None:
    program = programs("rtx")
    rows, planes = yuv.planes_of(layout, HEIGHT, WIDTH)
    padded = np.pad(rows, ((0, 0), (0, 9)), constant_values=77)
    (tmp_path / "frame").write_bytes(padded.tobytes())
    outputs, _ = program.computed(tmp_path / "frame", "--format", layout, "--colours", colours, "--stride", str(padded.shape[1]))
    numbers = np.frombuffer(outputs, np.float32).copy()
    start = 0
    for output in open_artefact(program.artefact).manifest.outputs:
        count = int(np.prod(output.shape))
        if output.dtype == "int32":
            numbers[start : start + count] = np.frombuffer(outputs, np.int32)[start : start + count]
        start += count
    size = HEIGHT * WIDTH * 3
    actual = np.empty(size)
    actual[: numbers.size] = numbers % 256
    actual[(np.arange(numbers.size) + numbers.size) % size] = numbers // 256
    matrix, _, span = colours.partition("-")
    expected = yuv.rgb_of(*planes, matrix, span or "limited").reshape(-1)
    assert np.abs(actual - expected).max() <= 1


def test_the_lines_in_the_readme_compile(programs: Callable[..., Program], tmp_path: Path) -> None:
    program = programs("rtx")
    lines = (program.project / "README.md").read_text().partition("```cpp\n")[2].partition("```")[0].splitlines()
    included, others = [[line for line in lines if line.startswith("#") == first] for first in (True, False)]
    body = ["void use(const unsigned char* buffer, std::size_t stride) {", *others, "}", "int main() {}"]
    (tmp_path / "use.cpp").write_text("\n".join([*included, *body]) + "\n")
    include = [f"-I{program.project / 'include'}", f"-I{HERE}"]
    compile_("c++", "-std=c++17", "-Wall", "-fsyntax-only", *include, "use.cpp", cwd=tmp_path)


def test_frames_that_are_none_are_refused(programs: Callable[..., Program], tmp_path: Path) -> None:
    program = programs("rtx")
    (tmp_path / "frames").write_bytes(bytes(3000))
    for code, said, words in (
        (2, "--format is rgb", ("--format", "i420")),
        (2, "--colours is", ("--colours", "bt2020")),
        (2, "less than a row", ("--stride", "10")),
        (2, "no option --threads", ("--threads", "2")),
        (4, "even width", ("--format", "yuyv", "--frame", "10x11")),
        (4, "even height", ("--format", "nv12", "--frame", "11x10")),
        (4, "not whole", ("--frame", "100x100")),
    ):
        done = program.run(*words, tmp_path / "frames")
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def versions(header: str) -> list[str]:
    names = (path.name for path in HEADERS.glob("*") if (path / header).is_file())
    return sorted(names, key=lambda name: [int(part) for part in name.split(".")]) or ["none"]


def cuda() -> Path:
    """The folder of the CUDA toolkit."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc here")
    done = subprocess.run([nvcc, "--dryrun", "-c", "x.cu"], capture_output=True, text=True, check=False, timeout=60)
    top = next(line.partition("TOP=")[2] for line in done.stderr.splitlines() if "TOP=" in line)
    return Path(top.strip()).resolve()


@pytest.mark.parametrize(
    ("family", "version"),
    [*(("jetson", version) for version in versions("NvInfer.h")), ("rtx", versions("NvInfer.h")[-1])],
)
def test_a_project_compiles_with_nvidias_headers(family: str, version: str, programs: Callable[..., Program]) -> None:
    """TensorRT-RTX's headers are not to be had; TensorRT's of its own age stand for them."""
    if version == "none":
        pytest.skip("no headers of TensorRT here: EDGEC_TENSORRT_HEADERS names their folder")
    include = [f"-I{programs(family).project / 'include'}", "-isystem", HEADERS / version, "-isystem", cuda() / "include"]
    sources = ["src/main.cpp", *(["src/make_engine.cpp"] if (HEADERS / version / "NvOnnxParser.h").is_file() else [])]
    for source in sources:
        words = [*STRICT, "-std=c++17", "-fsyntax-only", '-DEDGEC_ARTEFACT="x"', *include, source]
        compile_("c++", *words, cwd=programs(family).project)


def test_the_kernels_compile_with_nvcc(programs: Callable[..., Program], tmp_path: Path) -> None:
    compile_(
        "nvcc", "-std=c++17", "-arch=compute_87", "-code=sm_87", "-Xcompiler", "-Wall,-Wextra,-Werror",
        "-Werror", "all-warnings", "-Iinclude", "-c", "src/kernels.cu", "-o", tmp_path / "kernels.o",
        cwd=programs("jetson", 2).project,
    )  # fmt: skip


def test_cmake_builds_a_project_with_nvidias_library(programs: Callable[..., Program], tmp_path: Path) -> None:
    """The wheel's, with the headers that stand for its own. Without a GPU the programs say so."""
    wheel = importlib.util.find_spec("tensorrt_rtx_libs")
    version = versions("NvOnnxParser.h")[-1]
    if wheel is None or wheel.origin is None or version == "none":
        pytest.skip("no library of TensorRT-RTX, or no headers of TensorRT here")
    cuda()
    program, library = programs("rtx"), Path(wheel.origin).parent
    options = [f"-DCMAKE_LIBRARY_PATH={library}", f"-DTENSORRT_INCLUDE_DIR={HEADERS / version}", "-DCMAKE_CXX_FLAGS=-O0"]
    compile_("cmake", "-S", program.project, "-B", tmp_path, *options, cwd=tmp_path)
    compile_("cmake", "--build", tmp_path, cwd=tmp_path)
    for name in ("run-frames", "make-engine"):
        done = subprocess.run([tmp_path / name], capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, "CUDA finds no GPU that it can use" in done.stderr) == (10, True), done.stderr


def test_names_from_artefacts_are_only_ever_text(tmp_path: Path) -> None:
    code = tensorrt_robot_code("tensorrt", "jetson")["cpp"]
    for name, text in hostile_project(write_meaning(tmp_path / "x.edgec"), code).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    compile_(
        "c++", *STRICT, "-std=c++17", "-fsyntax-only", '-DEDGEC_ARTEFACT="x"', "-Iinclude", f"-I{HERE}", "src/main.cpp",
        cwd=tmp_path,
    )  # fmt: skip
