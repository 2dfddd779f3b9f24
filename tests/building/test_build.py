"""A build from end to end: what comes of a small checkpoint and pictures."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from edgec.artefact.drift import read_drift
from edgec.artefact.reading import open_artefact
from edgec.backends import profiles as targets
from edgec.backends.cpu.backend import CpuBackend
from edgec.building import BuildResult, build
from edgec.errors import ArtefactError
from edgec.host.facts import facts
from edgec.lowering import registry
from edgec.onboard.drift import THRESHOLD
from edgec.onboard.vectorised import cosines
from edgec.records.evidence import Evidence
from edgec.request import BuildRequest
from edgec.verifying import verify
from tests.building.conftest import Recorder
from tests.support.frames import pictures
from tests.support.models import SMALL

FIGURES = {"stage", "cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01", "frames", "evidence"}


# --- what is written


def test_it_holds_the_model_golden_vectors_and_a_report(built: BuildResult) -> None:
    files = {path.relative_to(built.directory).as_posix() for path in built.directory.rglob("*") if path.is_file()}
    model = {"model/model.onnx"} if built.manifest.runtime == "onnxruntime" else {"model/model.xml", "model/model.bin"}
    golden = {f"golden/{name}.npz" for name in ("frames", "expected_float32", "expected_shipped")}
    assert files - {"LICENSE", "NOTICE"} == model | golden | {
        "manifest.json",
        "report.json",
        "report.md",
        "explanation.json",
        "drift.npz",
        "device/bundle.json",
        "device/edgec-cpu.pyz",
        "report/pareto.svg",
    }
    assert not built.reused


def test_the_manifest_describes_the_model(built: BuildResult, inputs: Path) -> None:
    manifest = built.manifest
    assert manifest == open_artefact(built.directory).manifest
    assert manifest.checkpoint.name == "checkpoint"
    assert manifest.checkpoint.form == "huggingface"
    assert manifest.checkpoint.arch == "width 64, depth 2, heads 1, MLP 128, patch 16"
    assert not manifest.checkpoint.random_weights
    assert manifest.input.dtype == "uint8"
    assert manifest.input.shape == (1, 64, 96, 3)
    assert {output.name: output.shape for output in manifest.outputs} == {"cls": (1, 64), "patches": (1, 4, 6, 64)}
    assert all(output.meaning for output in manifest.outputs)
    assert manifest.entry in {file.path for file in manifest.files}
    assert manifest.validation.frames + (manifest.calibration.frames if manifest.calibration else 12) == 16
    assert manifest.validation.name == "frames"
    assert set(manifest.tools) >= {"edgec", "torch", "onnx", "onnxruntime"}
    assert {kind.split("-")[0] for kind in manifest.operations.values()} <= {"fp32", "bf16", "int8"}
    assert len(manifest.operations) == 17


def test_fidelity_is_recorded_for_each_stage(built: BuildResult) -> None:
    told = json.loads((built.directory / "manifest.json").read_bytes())["fidelity"]
    assert [stage["stage"] for stage in told] == ["hub", built.report.chosen, "artefact"]
    for stage in told:
        assert set(stage) == FIGURES
        assert stage["frames"] == built.manifest.validation.frames >= 2
        assert stage["evidence"] in {evidence.value for evidence in Evidence}
        assert 0.95 <= stage["patch_cosine_p01"] <= stage["patch_cosine_mean"] <= 1
    assert told[0]["patch_cosine_p01"] > 0.999999
    assert built.manifest.fidelity == built.report.stages


def test_the_last_stage_is_what_the_files_compute(built: BuildResult) -> None:
    """Run here again from the directory alone, against the float32 features that it carries."""
    opened = open_artefact(built.directory)
    runner = registry.get(opened.manifest.runtime).load(opened.lowered)
    for frame, *expected in zip(
        opened.golden.frames, *(opened.golden.expected_float32[name] for name in ("cls", "patches")), strict=True
    ):
        features = runner(frame[None])
        for name, wanted in zip(("cls", "patches"), expected, strict=True):
            assert cosines(wanted, features[name][0]).min() > 0.9


def test_golden_features_are_pytorch_s(inputs: Path, built: BuildResult) -> None:
    """By `transformers`, which shares no code with edgec."""
    import torch
    from transformers import AutoModel

    golden = open_artefact(built.directory).golden
    assert len(golden.frames) == min(4, built.manifest.validation.frames)
    model = AutoModel.from_pretrained(inputs / "checkpoint").eval()
    mean, std = (torch.tensor(values) for values in (built.manifest.checkpoint.mean, built.manifest.checkpoint.std))
    pixels = ((torch.from_numpy(golden.frames.copy()) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        sequence = model(pixels).last_hidden_state.numpy()
    np.testing.assert_allclose(golden.expected_float32["cls"], sequence[:, 0], atol=1e-3)
    np.testing.assert_allclose(golden.expected_float32["patches"].reshape(len(sequence), 24, 64), sequence[:, 5:], atol=1e-3)


def test_golden_frames_are_not_calibration_frames(built: BuildResult, inputs: Path) -> None:
    golden = open_artefact(built.directory).golden.frames
    assert len({frame.tobytes() for frame in golden}) == len(golden)
    assert built.report.calibration.startswith("frames, 12 frames")
    assert built.report.validation_frames == 4


def test_the_linter_has_looked_at_the_frames(built: BuildResult, recorder: Recorder) -> None:
    """Soft ramps in little but one lighting: the frames of this build are few, and it says so before it begins to work."""
    report = built.report
    assert report.repeated_frames == 0
    few = next(finding for finding in report.frame_findings if finding.check == "count")
    assert (few.level, few.text[:17]) == ("warning", "16 usable frames;")
    assert few.text in report.notes
    assert recorder.told.index(("note", few.text)) < recorder.told.index(("begin", ("export the hub graph", None)))


def test_it_records_what_the_calibration_frames_look_like(built: BuildResult) -> None:
    opened = open_artefact(built.directory)
    drift = read_drift(opened, opened.sizes[0].facts)
    assert drift is not None
    assert (drift.fitted.fitted_on, drift.fitted.judged_on) == (12, 4)
    assert any(note.startswith("Drift: a frame that scores above 1 is unlike the 12") for note in built.report.notes)
    runner = registry.get(opened.manifest.runtime).load(opened.lowered)
    outputs = [{name: values[0] for name, values in runner(picture[None]).items()} for picture in opened.golden.frames]
    # The weights are random: not even a black frame is far from others. What the threshold promises holds all the same.
    assert all(0 < drift.score(each) < 0.6 for each in outputs)
    assert drift.score({"cls": 10 * outputs[0]["cls"]}) > THRESHOLD


def test_the_report_lists_every_candidate(built: BuildResult) -> None:
    report = built.report
    names = [candidate.name for candidate in report.candidates]
    assert len(set(names)) == len(names)
    pairs = {(candidate.runtime, candidate.precision) for candidate in report.candidates}
    assert pairs == set(targets.resolve("cpu", facts()).candidates)
    assert {precision for _, precision in pairs} >= {"fp32", "int8"}
    assert [candidate.name for candidate in report.candidates if candidate.chosen] == [report.chosen]
    for candidate in report.candidates:
        assert not candidate.problem
        assert candidate.fidelity is not None
        assert candidate.fidelity.stage == candidate.name
        assert candidate.latency is not None
        assert candidate.latency.iterations == len(candidate.latency.samples_ms) == 10
        assert candidate.latency.min_ms <= candidate.latency.p50_ms <= candidate.latency.p99_ms <= candidate.latency.max_ms
        assert candidate.latency.evidence is Evidence.TARGET, "as `edgec bench` has it on a host that lacks nothing"
        assert candidate.cold_start is not None
        assert candidate.cold_start.peak_rss_bytes > 20e6
        assert candidate.size_bytes is not None
        assert candidate.size_bytes > 100_000
        assert candidate.execution_precision
    assert report.reason.startswith(report.chosen)
    assert report.host_is_target
    assert report.precision_asked == "auto"
    assert CpuBackend.note in report.notes


def test_the_report_is_readable(built: BuildResult) -> None:
    text = (built.directory / "report.md").read_text()
    for candidate in built.report.candidates:
        assert candidate.name in text
    assert built.report.reason.split(":")[0] in text
    assert "Random weights" not in text


def test_nothing_in_it_names_this_machine(built: BuildResult, inputs: Path) -> None:
    for path in built.directory.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for trace in (str(inputs), str(built.directory.parent), str(Path.home()) + "/", str(Path.cwd()) + "/"):
                assert trace.encode() not in content, (path.name, trace)


def test_its_permissions_follow_the_umask(ask: BuildRequest) -> None:
    """The cache it comes from is for its owner alone."""
    before = os.umask(0o022)
    try:
        made = build(ask).directory
    finally:
        os.umask(before)
    for path in (made, *made.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path


def test_verifying_it_passes(built: BuildResult) -> None:
    result = verify(built.directory)
    assert result.build_key == built.manifest.build_key
    assert all(output.passed for output in result.outputs)
    assert {output.name for output in result.outputs} == {"cls", "patches"}


def test_a_changed_model_is_found(built: BuildResult, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(built.directory, tmp_path / "copy"))
    weights = max((copy / "model").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 0x40
    weights.write_bytes(content)
    with pytest.raises(ArtefactError, match="1 changed") as caught:
        verify(copy)
    assert weights.name in str(caught.value)


def test_progress_is_reported_in_order_and_completely(built: BuildResult, recorder: Recorder) -> None:
    kinds = [kind for kind, _ in recorder.told]
    assert kinds[:3] == ["begin", "end", "settings"]
    begun = [value for kind, value in recorder.told if kind == "begin"]
    ended = [value for kind, value in recorder.told if kind == "end"]
    assert [title for title, _ in begun] == [
        "resolve",
        "choose frames",
        "export the hub graph",
        "float32 reference in PyTorch",
        "verify the hub graph",
        "float32 reference elsewhere",
        "describe the calibration frames",
        "calibrate",
        "quantise and lower",
        "verify candidates",
        "measure latency",
        "verify the artefact",
        "write",
    ]
    for (title, total), (same, done) in zip(begun, ended, strict=True):
        assert title == same
        assert total is None or done == total, title


def test_the_pictures_have_different_features(built: BuildResult) -> None:
    """What the tests above rest on."""
    features = open_artefact(built.directory).golden.expected_float32["cls"]
    assert cosines(features[:1].repeat(3, 0), features[1:]).max() < 0.999
    assert pictures(SMALL, 1).shape == (1, 64, 96, 3)
