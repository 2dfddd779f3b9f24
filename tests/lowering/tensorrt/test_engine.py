"""What stands in trtexec's place takes what the program for the boards gives, in every version, and answers in trtexec's words.

TensorRT and the driver are stand-ins (`standin/`); the processes are real.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgec.lowering.tensorrt.engine.command import KNOWN, ONLY
from edgec.lowering.tensorrt.engine.host import MODULE, Driver
from tests.support.gpu import environment

ROOT = Path(__file__).resolve().parents[3]
VERSIONS = ((8, 6, 1), (10, 3, 0), (10, 13, 3), (10, 16, 2), (11, 0, 0), (11, 1, 0))
SHAPE = (1, 4, 6, 3)


@pytest.fixture(scope="module")
def flags() -> ModuleType:
    """The program's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "targets" / "jetson" / "device"))
        return importlib.import_module("edgec_device.flags")


@dataclass
class Trtexec:
    """As the program for the boards calls it, in a folder with `model.onnx` and `frames.bin`."""

    folder: Path
    environment: dict[str, str]

    def __call__(self, *arguments: str, **told: str) -> tuple[int, str]:
        """Exit code, and all that it says."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", MODULE, *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment, **told},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def build(self, given: Sequence[str], **told: str) -> tuple[int, str]:
        paths = ("--onnx=model.onnx", "--saveEngine=engine.plan", "--timingCacheFile=timing.cache", "--verbose")
        return self(*paths, *given, **told)

    def run(self, given: Sequence[str], **told: str) -> tuple[int, str]:
        paths = ("--loadEngine=engine.plan", "--loadInputs=frames:frames.bin")
        return self(*paths, "--exportOutput=out.json", "--exportTimes=times.json", *given, **told)


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(tmp_path_factory.mktemp("gpu"))


@pytest.fixture
def trtexec(gpu: dict[str, str], tmp_path: Path) -> Trtexec:
    frames = np.arange(np.prod(SHAPE), dtype=np.uint8).reshape(SHAPE)
    (tmp_path / "frames.bin").write_bytes(frames.tobytes())
    nodes = [
        helper.make_node("Cast", ["frames"], ["x"], name="to_float", to=TensorProto.FLOAT),
        helper.make_node("Sqrt", ["x"], ["patches"], name="norm"),
        helper.make_node("ReduceMean", ["x"], ["cls"], name="mean", axes=[1, 2], keepdims=0),
        helper.make_node("Cast", ["x"], ["floor"], name="labels", to=TensorProto.INT32),
    ]
    outputs = [
        helper.make_tensor_value_info("cls", TensorProto.FLOAT, [1, 3]),
        helper.make_tensor_value_info("patches", TensorProto.FLOAT, list(SHAPE)),
        helper.make_tensor_value_info("floor", TensorProto.INT32, list(SHAPE)),
    ]
    inputs = [helper.make_tensor_value_info("frames", TensorProto.UINT8, list(SHAPE))]
    graph = helper.make_graph(nodes, "small", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "model.onnx")
    return Trtexec(tmp_path, gpu)


def build_flags(flags: ModuleType, version: tuple[int, ...] = (10, 13, 3), precision: str = "int8") -> list[str]:
    actual: list[str] = flags.build_flags(version, precision, ["norm"])
    return actual


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: ".".join(map(str, version)))
def test_it_takes_every_flag_that_the_program_gives(flags: ModuleType, version: tuple[int, ...]) -> None:
    given = [*flags.verify_flags(version), *flags.bench_flags(version, 5, 100)]
    for precision in ("int8", "fp16", "fp32"):
        given += build_flags(flags, version, precision)
    for name, _, value in (flag.lstrip("-").partition("=") for flag in given):
        assert name in KNOWN, name
        assert ONLY.get(name, value) == value, name


@pytest.mark.parametrize(
    ("version", "network", "types"),
    [
        # Before 9 a network is weakly typed, and told what stays in float32; before 10 it needs an explicit batch.
        ((8, 6, 1), 1, "FP16 INT8 PREFER_PRECISION_CONSTRAINTS TF32"),
        ((9, 3, 0), 3, "TF32"),
        ((10, 3, 0), 2, "TF32"),
        ((11, 1, 0), 0, "TF32"),
    ],
    ids=str,
)
def test_an_engine_is_built_and_run(
    trtexec: Trtexec, flags: ModuleType, version: tuple[int, ...], network: int, types: str
) -> None:
    told = {"STANDIN_TENSORRT": ".".join(map(str, version)), "STANDIN_CALLS": str(trtexec.folder / "calls")}
    code, said = trtexec.build(build_flags(flags, version), **told)
    assert code == 0, said
    expected = [f"network {network}", *(["precision norm"] if version < (9,) else []), f"build {types}"]
    assert (trtexec.folder / "calls").read_text().splitlines() == expected
    assert re.search(r"^\[[^]]+\] \[V\] \[TRT\] =+ Computing costs for /blocks.2$", said, re.MULTILINE), (
        "progress, as trtexec says it"
    )
    assert (trtexec.folder / "timing.cache").read_bytes()

    code, said = trtexec.run(flags.bench_flags(version, 0.05, 20), **told)
    assert code == 0, said
    for name, setting in flags.UNDERSTOOD.items():
        assert re.search(rf"\[I\] {name}: {setting}$", said, re.MULTILINE), name
    assert "Graph capture failed" not in said
    outputs = {entry["name"]: entry for entry in json.loads((trtexec.folder / "out.json").read_text())}
    frames = np.frombuffer((trtexec.folder / "frames.bin").read_bytes(), np.uint8).reshape(SHAPE).astype(np.float32)
    assert outputs["patches"]["dimensions"] == "1x4x6x3"
    assert outputs["patches"]["values"] == pytest.approx(np.sqrt(frames).ravel().tolist(), rel=1e-7)
    assert outputs["floor"]["values"] == frames.astype(int).ravel().tolist()
    assert outputs["cls"]["values"] == pytest.approx(frames.mean((1, 2)).ravel().tolist(), rel=1e-7)
    times = json.loads((trtexec.folder / "times.json").read_text())
    assert len(times) >= 20
    for entry in times:
        assert entry["latencyMs"] == pytest.approx(entry["h2dMs"] + entry["computeMs"] + entry["d2hMs"], abs=1e-5)
        assert entry["computeMs"] > 0


def test_float32_is_not_rounded_to_tf32(trtexec: Trtexec, flags: ModuleType) -> None:
    code, said = trtexec.build(build_flags(flags, precision="fp32"), STANDIN_CALLS=str(trtexec.folder / "calls"))
    assert code == 0, said
    assert (trtexec.folder / "calls").read_text().splitlines()[-1] == "build "


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("parse-error", "node 17: no importer registered for op: Sinkhorn"),
        ("no-engine", "[E] [TRT] IBuilder::buildSerializedNetwork: Error Code 2"),
        ("bad-cache", "Failed to create timingCache from timing.cache"),
    ],
)
def test_failed_builds_are_reported(trtexec: Trtexec, flags: ModuleType, fault: str, words: str) -> None:
    (trtexec.folder / "timing.cache").write_bytes(b"edgec stand-in timing cache")
    code, said = trtexec.build(build_flags(flags), STANDIN_FAULTS=fault)
    assert code == 1
    assert words in said
    assert "&&&& FAILED" in said
    assert not (trtexec.folder / "engine.plan").exists()


def test_failed_runs_are_reported(trtexec: Trtexec, flags: ModuleType) -> None:
    assert trtexec.build(build_flags(flags))[0] == 0
    verify = flags.verify_flags((10, 13, 3))
    code, said = trtexec.run(verify, STANDIN_TENSORRT="10.16.2")
    assert code == 1
    assert "not compatible with this version of TensorRT" in said
    assert "out of memory" in trtexec.run(verify, STANDIN_FAULTS="no-context")[1]
    # A graph that cannot be captured is no failure: kernels are launched one by one, and it is said.
    code, said = trtexec.run(verify, STANDIN_FAULTS="no-capture")
    assert code == 0, said
    assert "Graph capture failed" in said
    (trtexec.folder / "frames.bin").write_bytes(b"too few")
    code, said = trtexec.run(verify)
    assert code == 1
    assert "frames: 72 bytes" in said


def test_it_names_itself_and_refuses_unknown_options(trtexec: Trtexec) -> None:
    code, said = trtexec("--device=0", "--loadEngine=no-such-engine")
    assert code == 1
    assert "&&&& RUNNING TensorRT.trtexec [TensorRT v101303] [edgec, not NVIDIA] # " in said
    assert "Selected Device: edgec stand-in GPU" in said
    assert "Compute Capability: 8.9" in said
    for option in ("--useDLACore=0", "--infStreams=2"):
        code, said = trtexec("--loadEngine=engine.plan", option)
        assert code == 1
        assert f"Unknown option: {option.replace('=', ' ')}" in said
    assert "no CUDA-capable device is detected" in trtexec("--loadEngine=no-such-engine", STANDIN_NO_GPU="1")[1]


def test_a_driver_of_several_words_becomes_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    folder.mkdir()
    path = Driver((sys.executable, "-c", "import sys; print(sys.argv[1:])"), "some GPU").executable(folder)
    done = subprocess.run([path, "--a=b c", "--d"], capture_output=True, text=True, check=True)
    assert done.stdout == "['--a=b c', '--d']\n"
    assert Driver((str(path),), "some GPU").executable(tmp_path) == path
