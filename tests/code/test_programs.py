"""The programs, built by CMake with the real runtimes: on this machine, and on an emulated Cortex-A76."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.programs import Program
from edgec.artefact.reading import open_artefact
from edgec.code.generating import Project
from edgec.code.model import model_of, variants
from edgec.errors import RequestError
from edgec.frames import fit
from edgec.lowering import registry
from edgec.running.request import RunRequest
from edgec.running.running import run
from tests.code.conftest import VARIANTS
from tests.running.conftest import Told
from tests.support.models import SMALL

RUNTIMES = tuple(VARIANTS)
THREADS = 2
Programs = Callable[..., Program]


def computed(program: Program, frames: Path, folder: Path, *options: str) -> bytes:
    """Every output of every frame."""
    place = folder / "outputs.bin"
    done = program.run("--threads", str(THREADS), "--json", "--output", place, *options, frames)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["threads"] == THREADS
    return place.read_bytes()


def expected(artefact: Path, runtime: str, frames: NDArray[np.uint8], folder: Path) -> bytes:
    """The same of `edgec run`, or for another graph than the entry of its runtime in edgec."""
    opened = open_artefact(artefact)
    names = [output.name for output in opened.manifest.outputs]
    by_name: dict[str, NDArray[Any]]
    if VARIANTS[runtime] is None:
        np.save(folder / "frames.npy", frames)
        request = RunRequest(artefact, str(folder / "frames.npy"), features=folder / "all.npz", threads=THREADS, force=True)
        run(request, Told())
        with np.load(folder / "all.npz") as archive:
            by_name = {name: archive[name] for name in names}
    else:
        model = variants(opened)[str(VARIANTS[runtime])].lowered
        runner = registry.get(runtime).load(model, threads=THREADS)
        answers = [runner(frame[None]) for frame in frames]
        by_name = {name: np.concatenate([answer[name] for answer in answers]) for name in names}
    return b"".join(by_name[name][index].tobytes() for index in range(len(frames)) for name in names)


def drifts(artefact: Path, frames: NDArray[np.uint8], folder: Path) -> list[float]:
    """The drift score of each frame, by `edgec run`."""
    np.save(folder / "frames.npy", frames)
    told = Told()
    run(RunRequest(artefact, str(folder / "frames.npy"), threads=1), told)
    return [done.drift for done in told.frames if done.drift is not None]


def raw(path: Path, frames: NDArray[np.uint8], gap: int = 0) -> Path:
    """Without headers, with a gap of noise after each row."""
    rows = frames.reshape(-1, frames.shape[-2] * 3)
    noise = np.random.default_rng(2).integers(0, 256, (len(rows), gap), dtype=np.uint8)
    path.write_bytes(np.concatenate([rows, noise], axis=1).tobytes())
    return path


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_golden_frames_pass_and_a_program_computes_what_edgec_computes(
    runtime: str, programs: Programs, projects: Callable[[str], Project], artefact: Path, tmp_path: Path
) -> None:
    program = programs(runtime)
    folder = projects(runtime).directory.with_suffix(".build")
    ctest = subprocess.run(["ctest", "--test-dir", folder], capture_output=True, text=True, check=False, timeout=60)
    assert ctest.returncode == 0, ctest.stdout
    assert "100% tests passed, 0 tests failed out of 1" in ctest.stdout
    golden = open_artefact(artefact).golden.frames
    packed = computed(program, raw(tmp_path / "golden.rgb", golden), tmp_path)
    assert packed == expected(artefact, runtime, golden, tmp_path)

    gap = 3 * golden.shape[2] + 32
    assert packed == computed(program, raw(tmp_path / "gap.rgb", golden, 32), tmp_path, "--stride", str(gap))
    bgr = np.ascontiguousarray(golden[..., ::-1])
    assert packed == computed(program, raw(tmp_path / "bgr", bgr, 32), tmp_path, "--stride", str(gap), "--bgr")


@pytest.mark.parametrize("crop", ["centre", "resize", "pad"])
def test_frames_of_another_size_are_fitted_byte_for_byte_as_edgec_run_does(
    crop: Any, programs: Programs, artefact: Path, tmp_path: Path
) -> None:
    """Noise shows each wrong weight. Wider, higher, smaller, and as wide or as high as the model's frames."""
    program, opened = programs("onnxruntime"), open_artefact(artefact)
    runner = registry.get("onnxruntime").load(opened.lowered, threads=THREADS)
    height, width = opened.manifest.input.shape[1:3]
    random = np.random.default_rng(0)
    for rows, columns in ((97, 200), (301, 125), (11, 7), (height, width + 1), (height - 1, width), (2 * height, 2 * width)):
        frame = random.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        fitted = fit(frame, SMALL, crop)
        answer = runner(fitted[None])
        whole = b"".join(answer[output.name].tobytes() for output in opened.manifest.outputs)
        path = raw(tmp_path / "frame.rgb", frame[None], 5)
        options = ("--frame", f"{rows}x{columns}", "--stride", str(3 * columns + 5), "--crop", crop)
        assert computed(program, path, tmp_path, *options) == whole, (rows, columns)


def test_nothing_runs_with_files_that_are_not_those_that_edgec_wrote(
    programs: Programs, projects: Callable[[str], Project], tmp_path: Path
) -> None:
    whole = projects("onnxruntime").directory / "artefact"
    for name in ("model/model.onnx", "golden/frames.bin", "golden/cls.bin"):
        folder = Path(shutil.copytree(whole, tmp_path / name.replace("/", "-")))
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
        done = programs("onnxruntime").run("--artefact", folder)
        assert done.returncode == 8
        assert name in done.stderr
        assert "SHA-256" in done.stderr
        assert "ready" not in done.stdout
        (folder / name).unlink()
        done = programs("onnxruntime").run("--artefact", folder)
        assert (done.returncode, "No such file" in done.stderr) == (8, True)


def test_a_variant_has_the_name_that_boards_give_it(artefact: Path) -> None:
    opened = open_artefact(artefact)
    names = [variant["name"] for variant in json.loads((artefact / "device" / "bundle.json").read_text())["variants"]]
    judged = {variant.facts.entry for variant in opened.variants if variant.expected is not None}
    (unjudged,) = [name for name in names if name.endswith("fp16")]
    assert {model_of(opened, name).entry for name in names if name != unjudged} == judged
    with pytest.raises(RequestError, match=f"no variant '{unjudged}'"):
        model_of(opened, unjudged)  # nothing is recorded that a project could test itself by
    assert model_of(opened, None).entry == opened.manifest.entry
    with pytest.raises(RequestError, match="no variant 'fast'"):
        model_of(opened, "fast")


def test_what_cannot_be_used_is_refused_with_edgecs_exit_codes(programs: Programs, tmp_path: Path) -> None:
    program = programs("onnxruntime")
    half, empty = tmp_path / "half.rgb", tmp_path / "empty.rgb"
    half.write_bytes(b"x" * 1000)
    empty.touch()
    for code, said, arguments in (
        (2, "no option --size", ("--size", "3")),
        (2, "from 1 to", ("--threads", "-2")),
        (2, "480x640", ("--frame", "480")),
        (2, "centre, resize or pad", ("--crop", "left")),
        (2, "less than three bytes", ("--stride", "10")),
        (2, "takes a value", ("--output",)),
        (4, "cannot be read", (tmp_path / "none.rgb",)),
        (4, "not whole", (half,)),
        (4, "no frame", (empty,)),
    ):
        done = program.run(*arguments)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_golden_frames_pass_on_an_emulated_cortex_a76(runtime: str, programs: Programs) -> None:
    done = programs(runtime, arm64=True).run("--self-test", "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert "ready: " in done.stdout
    assert "4 golden frames as recorded" in done.stdout
