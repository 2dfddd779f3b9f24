"""`edgec bench` on a small artefact that the real ONNX Runtime lowering runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgec.artefact.contents import build_manifest_files
from edgec.artefact.golden import EXPECTED_FLOAT32, EXPECTED_SHIPPED, FRAMES, write_golden
from edgec.backends.profiles import list_profiles, missing
from edgec.benchmarking import as_report, bench
from edgec.cli import run
from edgec.errors import ArtefactError, RuntimeFailure
from edgec.host.facts import facts
from edgec.lowering.base import LoweredModel
from edgec.records.consistency import read_report
from edgec.records.evidence import Evidence
from edgec.records.fidelity import StageFidelity
from edgec.records.manifest import CheckpointFacts, FrameSetFacts, Golden, LicenceFacts, Manifest, Tensor
from edgec.records.report import CandidateFigures, ModelFacts, Report
from edgec.report.markdown import to_markdown

GOLDEN, BATCH, WIDTH = 3, 2, 16

FIDELITY = StageFidelity(
    stage="artefact", cls_cosine_mean=1, patch_cosine_mean=1, patch_cosine_p01=1, frames=3, evidence=Evidence.HOST
)


def manifest(target: str, directory: Path) -> Manifest:
    return Manifest(
        edgec_version="0.1.0",
        build_key="0123abcd",
        checkpoint=CheckpointFacts(
            name="small",
            form="random",
            arch="two products",
            sha256="0" * 64,
            random_weights=True,
            normalisation="none",
            mean=(0, 0, 0),
            std=(1, 1, 1),
            licence=LicenceFacts(name="Apache-2.0", spdx="Apache-2.0", reason="made here"),
        ),
        calibration=None,
        validation=FrameSetFacts(name="noise", sha256="0" * 64, frames=3),
        target=target,
        runtime="onnxruntime",
        precision="fp32",
        execution_precision="fp32",
        entry="model.onnx",
        settings={"precision": "fp32"},
        input=Tensor(name="frames", dtype="uint8", shape=(BATCH, 32, 32, 3)),
        outputs=(Tensor(name="cls", dtype="float32", shape=(BATCH, WIDTH)),),
        operations={},
        fidelity=(FIDELITY,),
        golden=Golden(
            frames=FRAMES,
            expected_float32=EXPECTED_FLOAT32,
            expected_shipped=EXPECTED_SHIPPED,
            count=GOLDEN,
            relative_tolerance=1e-4,
            min_cosine=0.9999,
        ),
        tools={},
        files=build_manifest_files(directory),
    )


def report(target: str) -> Report:
    shipped = CandidateFigures(name="onnxruntime-fp32", runtime="onnxruntime", precision="fp32", fidelity=FIDELITY, chosen=True)
    return Report(
        edgec_version="0.1.0",
        created="2026-11-24T00:00:00+00:00",
        model=ModelFacts(
            name="small", arch="two products", checkpoint_sha256="0" * 64, random_weights=True, gflops=0, parameters=304
        ),
        target=target,
        host_is_target=True,
        input_shape=(BATCH, 32, 32, 3),
        precision_asked="auto",
        min_fidelity=0.99,
        calibration="none",
        validation_frames=3,
        candidates=(shipped, CandidateFigures(name="openvino-fp32", runtime="openvino", precision="fp32", problem="not made")),
        chosen="onnxruntime-fp32",
        reason="It was the only one.",
        host=facts(),
    )


def own_target() -> str:
    return next(profile.name for profile in list_profiles() if not missing(profile, facts()))


def foreign_target() -> str:
    return next(profile.name for profile in list_profiles() if missing(profile, facts()))


@pytest.fixture
def make_artefact(make_model: Callable[..., LoweredModel]) -> Callable[[str], Path]:
    def make(target: str) -> Path:
        directory = make_model("artefact", width=WIDTH, batch=BATCH).directory
        frames = np.random.default_rng(1).integers(0, 256, (GOLDEN, 32, 32, 3), dtype=np.uint8)
        features = {"cls": np.ones((GOLDEN, WIDTH), dtype=np.float32)}
        write_golden(directory, frames, features, features)
        (directory / "manifest.json").write_text(manifest(target, directory).to_json())
        (directory / "report.json").write_text(report(target).to_json())
        return directory

    return make


def test_on_a_host_that_the_artefact_is_for(make_artefact: Callable[[str], Path]) -> None:
    result = bench(make_artefact(own_target()), threads=1, iterations=20)
    assert result.lacks == ()
    assert result.latency.evidence is result.cold_start.evidence is Evidence.TARGET
    assert (result.latency.iterations, result.latency.threads) == (20, 1)
    assert result.measurement.execution_precision == "fp32"


def test_on_another_host(make_artefact: Callable[[str], Path]) -> None:
    result = bench(make_artefact(foreign_target()), threads=1, iterations=5)
    assert result.lacks
    assert result.latency.evidence is Evidence.HOST


@pytest.mark.parametrize("target", ["courier-v2", "cpu", "../../etc/robot.toml"])
def test_no_host_is_an_unknown_target(make_artefact: Callable[[str], Path], target: str) -> None:
    result = bench(make_artefact(target), threads=1, iterations=5)
    assert result.lacks is None
    assert result.latency.evidence is Evidence.HOST


def test_a_changed_file_is_not_measured(make_artefact: Callable[[str], Path]) -> None:
    directory = make_artefact("cpu")
    data = bytearray((directory / "model.onnx").read_bytes())
    data[-1] ^= 1
    (directory / "model.onnx").write_bytes(data)
    with pytest.raises(ArtefactError, match=r"model.onnx|not what its manifest says"):
        bench(directory, threads=1, iterations=5)


def test_a_model_that_the_runtime_refuses(make_artefact: Callable[[str], Path]) -> None:
    directory = make_artefact("cpu")
    (directory / "model.onnx").write_bytes(b"not a model")
    (directory / "manifest.json").write_text(manifest("cpu", directory).to_json())
    with pytest.raises(RuntimeFailure) as caught:
        bench(directory, threads=1, iterations=5)
    assert "refuses the model" in str(caught.value)


def test_the_report_is_of_this_artefact_here(make_artefact: Callable[[str], Path], tmp_path: Path) -> None:
    result = bench(make_artefact(own_target()), threads=1, iterations=5)
    (tmp_path / "report.json").write_text(as_report(result).to_json())
    actual = read_report(tmp_path / "report.json")
    candidate, stick = actual.candidates
    assert (stick, stick.name, stick.chosen) == (result.yardstick, "yardstick", False)
    assert sum("is no candidate" in note for note in actual.notes) == 1
    assert candidate.name == actual.chosen == "onnxruntime-fp32"
    assert candidate.latency == result.latency
    assert candidate.fidelity == FIDELITY
    assert candidate.size_bytes == (result.artefact.directory / "model.onnx").stat().st_size
    assert actual.model.parameters == 304
    assert actual.host == result.host
    assert actual.created != "2026-11-24T00:00:00+00:00"


def test_command(make_artefact: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    target = own_target()
    directory = make_artefact(target)
    before = sorted(directory.rglob("*"))
    assert run(["bench", str(directory), "--threads", "1", "--iterations", "7"]) == 0
    shown = capsys.readouterr().out
    for word in (
        "p50 ms",
        "p99 ms",
        "onnxruntime, fp32, 1 threads",
        "reference work",
        "a fixed piece of work",
        "2 frames of 32x32",
        "peak memory",
        "measured on target",
    ):
        assert word in shown
    assert sorted(directory.rglob("*")) == before


def test_command_for_scripts(make_artefact: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory, written = make_artefact(own_target()), tmp_path / "here.json"
    arguments = ["bench", str(directory), "--threads", "1", "--iterations", "5", "--json", "--output", str(written)]
    assert run(arguments) == 0
    actual: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert len(actual["latency"]["samples_ms"]) == 5
    assert len(actual["processes_p50_ms"]) == 1
    assert min(actual["yardstick"]["samples_ms"]) > 0
    assert actual["cold_start"]["peak_rss_bytes"] > 0
    assert actual["target_lacks"] == []
    assert read_report(written).candidates[0].latency is not None
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["here.json"]


def test_command_on_a_place_that_cannot_be_written(
    make_artefact: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    arguments = ["bench", str(make_artefact("cpu")), "--iterations", "5", "--output", str(tmp_path / "file" / "x.json")]
    assert run(arguments) == 1
    assert "could not be written" in capsys.readouterr().err


def test_command_at_a_cameras_rate(
    make_artefact: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, written = make_artefact(own_target()), tmp_path / "here.json"
    arguments = ["bench", str(directory), "--iterations", "5", "--fps", "40", "--duration", "300ms", "--idle", "0.01"]
    assert run([*arguments, "--output", str(written)]) == 0
    shown = capsys.readouterr().out
    for word in ("camera at 40 Hz, the newest frame waits", "missed", "dropped", "jitter", "wait", "after 0.01 s of idling"):
        assert word in shown
    candidate = read_report(written).candidates[0]
    (camera,) = candidate.runs
    assert camera.arrived == 12
    assert camera.deadline_ms == 25
    assert candidate.after_idle is not None
    assert candidate.cpu_ms_per_frame is not None
    assert candidate.cold_start is not None
    assert candidate.cold_start.process_ms is not None
    assert candidate.cold_start.import_ms is not None
    assert candidate.cold_start.process_ms > candidate.cold_start.import_ms + candidate.cold_start.load_ms
    text = to_markdown(read_report(written))
    assert "## Runs" in text
    assert "| frames come | camera at 40 Hz, queue latest |" in text
    assert "| missed | " in text
    table = [line for line in text.partition("## Runs")[2].partition("## ")[0].splitlines() if line.startswith("|")]
    assert max(map(len, table)) < 80


def test_command_with_several_streams(make_artefact: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", str(make_artefact("cpu")), "--iterations", "5", "--streams", "2", "--duration", "0.2s", "--json"]
    assert run(arguments) == 0
    actual = json.loads(capsys.readouterr().out)
    (both,) = actual["runs"]
    assert (both["streams"], both["mode"]) == (2, "back to back")
    assert both["threads"] == actual["latency"]["threads"] == max(1, facts().usable_cores // 2)


@pytest.mark.parametrize(
    "options",
    [
        ["--fps", "0"],
        ["--duration", "0s"],
        ["--queue", "all"],
        ["--streams", "0"],
        ["--idle", "-1"],
        ["--on", "robot@nowhere", "--fps", "30"],
        ["--on", "robot@nowhere", "--duration", "9s"],
        ["--on", "robot@nowhere", "--streams", "2"],
        ["--on", "robot@nowhere", "--profile", "--deadline", "5"],
        ["--port", "22"],
    ],
)
def test_command_that_makes_no_sense(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", str(tmp_path), *options]) == 2
    assert options[-2] in capsys.readouterr().err
