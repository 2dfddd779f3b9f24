"""`edgec build --engine`: from a checkpoint to an engine on this machine's own GPU, by the program for RTX GPUs.

`cuda-bindings` is NVIDIA's own; the driver and TensorRT are stand-ins, so nothing here is `measured on` anything. The GPU is one
that TensorRT-RTX does not know, so that TensorRT is used.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgec.artefact.reading import open_artefact
from edgec.backends.rtx import finishing
from edgec.cli import run
from edgec.errors import BoardRuntimeMissing, TargetError
from edgec.records.consistency import read_report
from edgec.records.evidence import Evidence
from tests.support.files import save_checkpoint
from tests.support.frames import draw_pictures
from tests.support.gpu import PLAIN, environment
from tests.support.models import SMALL


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    return folder


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(tmp_path_factory.mktemp("gpu"), PLAIN)


@pytest.fixture
def tensorrt(gpu: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a GPU and the `tensorrt` package, that measures shortly. Returns where the package writes down its calls."""
    for name, value in gpu.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STANDIN_COMPUTE", "9.0")
    monkeypatch.setattr(finishing, "SECONDS", 0.05)
    monkeypatch.setattr(finishing, "ITERATIONS", 20)
    monkeypatch.setenv("STANDIN_CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def build(sources: Path, output: Path, *more: str) -> int:
    """The small model, int8 alone: the same as in every test here, so that only the first has to make it."""
    frames = ("--calibration", str(sources / "frames"), "--input-size", str(SMALL), "--min-fidelity", "0.9")
    named = ("--target", "jetson", "--precision", "int8", "-o", str(output))
    return run(["build", str(sources / "checkpoint"), *frames, *named, "--engine", *more])


def home(output: Path) -> Path:
    (found,) = (path for path in output.with_name(output.name + ".engine").iterdir() if path.is_dir())
    return found


def test_it_ends_with_a_verified_engine(
    sources: Path, tensorrt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "robot.edgec"
    assert build(sources, output) == 0
    said = capsys.readouterr().out
    plan = home(output) / "current" / "engine.plan"
    assert plan.is_file()
    assert f"engine: {plan}" in said
    assert "active" in said
    open_artefact(output)  # raises if a file of it was changed

    report = read_report(home(output) / "report.json")
    assert report.chosen in ("int8", "int8-folded"), "whichever was the faster one"
    assert not report.host_is_target
    assert report.host.cpu.startswith("edgec stand-in GPU, ")
    assert any("this machine itself, edgec stand-in GPU" in note for note in report.notes)
    assert any("TensorRT 10.13.3.9 on edgec stand-in GPU" in note for note in report.notes)
    assert [candidate.name for candidate in report.candidates] == ["int8", "int8-folded"]
    for candidate in report.candidates:
        assert candidate.latency is not None
        assert candidate.fidelity is not None
        assert candidate.fidelity.patch_cosine_p01 > 0.9
        assert {candidate.latency.evidence, candidate.fidelity.evidence} == {Evidence.SIMULATED}
    for path in home(output).rglob("*.json"):
        text = path.read_text()
        assert f'"{Evidence.TARGET.value}"' not in text, path
        assert f'"{Evidence.HOST.value}"' not in text, path

    calls, made = tensorrt.read_text(), plan.stat().st_mtime_ns
    assert calls.count("build ") == 2
    assert build(sources, output, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["reused"]
    assert summary["engine"]["plan"] == str(plan)
    assert summary["engine"]["report"]["chosen"] == report.chosen
    assert (tensorrt.read_text(), plan.stat().st_mtime_ns) == (calls, made), "nothing happens twice"


def test_garbage_is_never_activated_and_the_artefact_is_kept(
    sources: Path, tensorrt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "robot.edgec"
    monkeypatch.setenv("STANDIN_FAULTS", "garbage")
    assert build(sources, output) == 9
    said = capsys.readouterr()
    assert f"wrote {output}" in said.out
    assert "No engine reproduces the golden features; nothing is active" in said.err
    assert "must be at least" in said.err
    assert not (home(output) / "current").exists()
    assert not (home(output) / "report.json").exists()
    open_artefact(output)


def test_a_failure_of_tensorrt_keeps_the_artefact(
    sources: Path, tensorrt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "robot.edgec"
    monkeypatch.setenv("STANDIN_FAULTS", "no-engine")
    assert build(sources, output) == 10
    assert "no implementation" in capsys.readouterr().err
    monkeypatch.setenv("STANDIN_TENSORRT", "12.0.0")
    assert build(sources, output) == BoardRuntimeMissing.exit_code
    assert "8.6 or newer, below 12" in capsys.readouterr().err
    open_artefact(output)


@pytest.mark.parametrize("lack", ["tensorrt", "gpu", "another", "target"])
def test_it_is_refused_before_any_work(
    sources: Path,
    tensorrt: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lack: str,
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr("edgec.building.build", never)
    more: tuple[str, ...] = ()
    if lack == "tensorrt":
        (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10 is missing')\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        words = ("There is no TensorRT here", "no package of TensorRT that knows", "pip install 'edgec[nvidia]'", "tensorrt-cu12")
    elif lack == "gpu":
        monkeypatch.setenv("STANDIN_NO_GPU", "1")
        words = ("TensorRT finds no GPU", "no CUDA-capable device is detected", "--gpus all")
    elif lack == "another":
        more = ("--target", "rtx-ada")
        words = ("is none of the target's", "compute capability 9.0", "RTX GPUs of the Ada generation")
    else:
        more = ("--target", "cpu")
        words = ("this target runs none", "--target cpu", "--target jetson")
    assert build(sources, tmp_path / "robot.edgec", *more) == TargetError.exit_code
    said = capsys.readouterr().err
    for word in words:
        assert word in said
    assert not list(tmp_path.glob("robot*"))
