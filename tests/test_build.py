"""A build from end to end: a small checkpoint of `transformers`' own making, pictures in a folder, and what comes of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgec.artefact.reading import open_artefact
from edgec.backends import profiles as targets
from edgec.building import BuildResult, build
from edgec.errors import ArtefactError, CheckpointError, EdgecError, FidelityError, InputSizeError, RequestError
from edgec.host.facts import facts
from edgec.latency.measure import NOTE
from edgec.lowering import registry
from edgec.model.spec import Size
from edgec.onboard.vectorised import cosines
from edgec.progress import Step
from edgec.records.evidence import Evidence
from edgec.request import BuildRequest, resolve
from edgec.verifying import verify
from tests.support.files import save_checkpoint, save_profile
from tests.support.frames import draw_pictures, pictures
from tests.support.models import SMALL

FIGURES = {"stage", "cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01", "frames", "evidence"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`checkpoint/`, `frames/` and three profiles, each of one runtime."""
    folder = tmp_path_factory.mktemp("build")
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    save_profile(folder / "plain.toml", {"fp32": ["onnxruntime"]})
    save_profile(folder / "ort.toml", {"fp32": ["onnxruntime"], "int8": ["onnxruntime"]})
    save_profile(folder / "ov.toml", {"fp32": ["openvino"], "bf16": ["openvino"], "int8": ["openvino"]})
    return folder


@pytest.fixture
def ask(inputs: Path, tmp_path: Path) -> BuildRequest:
    """The cheapest build: one runtime, float32."""
    return BuildRequest(
        str(inputs / "checkpoint"),
        target=str(inputs / "plain.toml"),
        calibration=str(inputs / "frames"),
        size=SMALL,
        iterations=5,
        output=tmp_path / "made.edgec",
    )


class Recorder:
    """Writes down what a build tells of its progress."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def settings(self, rows: Sequence[tuple[str, str]]) -> None:
        self.told.append(("settings", dict(rows)))

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Step]:
        self.told.append(("begin", (title, total)))
        done = 0

        def step(count: int = 1, doing: str = "") -> None:
            nonlocal done
            done += count

        def call(done: int = 1, doing: str = "") -> None:
            step(done, doing)

        yield call
        self.told.append(("end", (title, done)))

    def note(self, text: str) -> None:
        self.told.append(("note", text))


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def built(inputs: Path, recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """Everything that the host's own target offers."""
    request = BuildRequest(
        str(inputs / "checkpoint"),
        calibration=str(inputs / "frames"),
        size=SMALL,
        iterations=10,
        output=tmp_path_factory.mktemp("built") / "whole.edgec",
        min_fidelity=0.95,
    )
    return build(request, recorder)


# --- what is written


def test_holds_the_model_its_proof_and_a_report(built: BuildResult) -> None:
    files = {path.relative_to(built.directory).as_posix() for path in built.directory.rglob("*") if path.is_file()}
    model = {"model/model.onnx"} if built.manifest.runtime == "onnxruntime" else {"model/model.xml", "model/model.bin"}
    golden = {f"golden/{name}.npz" for name in ("frames", "expected_float32", "expected_shipped")}
    assert files - {"LICENSE", "NOTICE"} == model | golden | {
        "manifest.json",
        "report.json",
        "report.md",
        "explanation.json",
        "report/pareto.svg",
    }
    assert not built.reused


def test_the_manifest_says_what_it_is(built: BuildResult, inputs: Path) -> None:
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


def test_fidelity_is_told_stage_by_stage(built: BuildResult) -> None:
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


def test_golden_frames_are_none_that_calibration_saw(built: BuildResult, inputs: Path) -> None:
    golden = open_artefact(built.directory).golden.frames
    assert len({frame.tobytes() for frame in golden}) == len(golden)
    assert built.report.calibration.startswith("frames, 12 frames")
    assert built.report.validation_frames == 4


def test_the_report_tells_every_candidate(built: BuildResult) -> None:
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
        assert candidate.latency.evidence is Evidence.HOST
        assert candidate.cold_start is not None
        assert candidate.cold_start.peak_rss_bytes > 20e6
        assert candidate.size_bytes is not None
        assert candidate.size_bytes > 100_000
        assert candidate.execution_precision
    assert report.reason.startswith(report.chosen)
    assert report.host_is_target
    assert report.precision_asked == "auto"
    assert NOTE in report.notes


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


def test_it_can_be_read_by_whom_the_umask_lets(ask: BuildRequest) -> None:
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


def test_progress_is_told_in_order_and_to_the_end(built: BuildResult, recorder: Recorder) -> None:
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


# --- what can be asked for


@pytest.mark.parametrize(
    ("profile", "precision", "runtime"),
    [("ov", "fp32", "openvino"), ("ov", "bf16", "openvino"), ("ov", "int8", "openvino"), ("ort", "int8", "onnxruntime")],
)
def test_a_forced_precision_ships(ask: BuildRequest, inputs: Path, profile: str, precision: Any, runtime: str) -> None:
    request = replace(ask, target=str(inputs / f"{profile}.toml"), precision=precision, min_fidelity=0.9)
    manifest = build(request).manifest
    assert (manifest.runtime, manifest.precision, manifest.target) == (runtime, precision, profile)
    kinds = [kind.split("-")[0] for kind in manifest.operations.values()]
    # 12 products; the last that adds to the residual stream stays in float.
    assert kinds.count(precision) == (11 if precision == "int8" else 17)
    assert len(kinds) == 17
    assert (manifest.calibration is not None) == (precision == "int8")
    if manifest.calibration:
        assert manifest.calibration.frames == 12
        assert manifest.calibration.sha256 == manifest.validation.sha256
    assert verify(request.output or Path()).runtime == runtime


def test_registers_and_layers_are_outputs_of_the_artefact(ask: BuildRequest) -> None:
    result = build(replace(ask, registers=True, layers=(0, 1)))
    shapes = {output.name: output.shape for output in result.manifest.outputs}
    grid = (1, 4, 6, 64)
    assert shapes == {"cls": (1, 64), "patches": grid, "registers": (1, 4, 64), "patches_0": grid, "patches_1": grid}
    assert {output.name for output in verify(result.directory).outputs} == set(shapes)
    assert {stage.stage for stage in result.manifest.fidelity} == {"hub", "onnxruntime-fp32", "artefact"}


def test_a_batch_need_not_divide_the_frames(ask: BuildRequest, inputs: Path) -> None:
    """Four validation frames and four golden ones in batches of three; twelve to calibrate on in batches of three too."""
    request = replace(ask, batch=3, precision="int8", target=str(inputs / "ort.toml"), min_fidelity=0.9)
    result = build(request)
    assert result.manifest.input.shape == (3, 64, 96, 3)
    assert result.manifest.golden.count == 4
    assert {stage.frames for stage in result.manifest.fidelity} == {4}
    assert verify(result.directory).frames == 4
    single = build(replace(request, batch=1, output=(request.output or Path()).with_name("single")))
    for ours, theirs in zip(result.manifest.fidelity, single.manifest.fidelity, strict=True):
        assert ours.patch_cosine_mean == pytest.approx(theirs.patch_cosine_mean, abs=0.002)


def test_frames_to_judge_by_may_come_from_elsewhere(ask: BuildRequest, inputs: Path, tmp_path: Path) -> None:
    draw_pictures(tmp_path / "judges", 3, side=128)
    result = build(
        replace(ask, validation=str(tmp_path / "judges"), precision="int8", target=str(inputs / "ort.toml"), min_fidelity=0.9)
    )
    assert result.manifest.validation.frames == 3
    assert result.manifest.calibration is not None
    assert result.manifest.calibration.frames == 16


def test_random_weights_are_called_so(tmp_path: Path, inputs: Path) -> None:
    request = BuildRequest(
        "random:vitt16",
        target=str(inputs / "plain.toml"),
        calibration="random:12",
        size=Size(32, 32),
        iterations=5,
        output=tmp_path / "random.edgec",
    )
    result = build(request)
    assert result.manifest.checkpoint.random_weights
    assert result.report.model.random_weights
    assert result.report.model.arch == "vitt16"
    assert "Random weights" in (result.directory / "report.md").read_text()
    assert resolve(replace(request, seed=1)).identity.sha256 != result.manifest.checkpoint.sha256


def test_a_damaged_frame_is_listed_and_stops_nothing(ask: BuildRequest, tmp_path: Path) -> None:
    folder = draw_pictures(tmp_path / "frames", 14)
    whole = (folder / "scene f.png").read_bytes()
    (folder / "scene f.png").write_bytes(whole[: len(whole) // 2])
    (folder / "scene g.png").write_bytes(b"")
    result = build(replace(ask, calibration=str(folder)))
    skipped = " ".join(result.manifest.validation.skipped)
    assert "scene f" in skipped
    assert "scene g" in skipped
    assert "scene f" in (result.directory / "report.md").read_text()
    assert any("scene g" in note for note in result.report.notes)
    assert str(folder) not in skipped


# --- refusals leave nothing


def refused(request: BuildRequest, error: type[EdgecError], match: str) -> EdgecError:
    assert request.output is not None
    before = sorted(request.output.parent.iterdir())
    with pytest.raises(error, match=match) as caught:
        build(request)
    assert sorted(request.output.parent.iterdir()) == before
    return caught.value


def test_a_budget_that_nothing_keeps(ask: BuildRequest, inputs: Path) -> None:
    request = replace(ask, target=str(inputs / "ort.toml"), precision="int8", min_fidelity=1.0)
    error = refused(request, FidelityError, "No candidate keeps the features")
    assert error.exit_code == 7
    assert all(fact.startswith("onnxruntime-int8") for fact in error.evidence)


def test_auto_ships_something_else_where_int8_loses(ask: BuildRequest, inputs: Path) -> None:
    result = build(replace(ask, target=str(inputs / "ort.toml"), min_fidelity=0.99999))
    assert result.manifest.precision == "fp32"
    assert re.search(r"onnxruntime-int8\S* loses the features", result.report.reason)


def test_a_size_that_does_not_fit(ask: BuildRequest) -> None:
    error = refused(replace(ask, size=Size(100, 96)), InputSizeError, "100x96 is not a multiple of 16")
    assert "96x96 or 112x96" in error.remedy


def test_layers_that_are_not_there(ask: BuildRequest) -> None:
    refused(replace(ask, layers=(0, 12)), RequestError, "cannot give the layers 0, 12")


def test_weights_that_overflow(ask: BuildRequest, inputs: Path, tmp_path: Path) -> None:
    """Every weight is finite; what they compute is not."""
    from safetensors.torch import load_file, save_file

    (tmp_path / "inputs").mkdir()
    folder = Path(shutil.copytree(inputs / "checkpoint", tmp_path / "inputs" / "checkpoint"))
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "patch_embeddings.weight" in name)
    weights[name] *= 1e38
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    refused(replace(ask, checkpoint=str(folder)), CheckpointError, "NaN or Inf in 'cls'")


def test_what_is_in_the_way_stays(ask: BuildRequest, inputs: Path) -> None:
    assert ask.output is not None
    first = build(ask)
    other = replace(ask, size=Size(64, 64))
    assert "exists already" in refused(other, ArtefactError, "exists").what
    assert open_artefact(first.directory).manifest == first.manifest
    replaced = build(replace(other, force=True))
    assert replaced.manifest.input.shape == (1, 64, 64, 3)
    assert open_artefact(ask.output).manifest == replaced.manifest
    assert [path.name for path in ask.output.parent.iterdir()] == [ask.output.name]


@pytest.mark.parametrize("force", [True, False], ids=["forced", "not forced"])
def test_what_is_no_artefact_is_never_replaced(ask: BuildRequest, force: bool, tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("years of work")
    (folder / "manifest.json").write_text('{"name": "a web app"}')
    refused(replace(ask, output=folder, force=force), ArtefactError, "not an artefact of edgec")
    assert (folder / "chapter.tex").read_text() == "years of work"
    refused(replace(ask, output=folder / "chapter.tex", force=force), ArtefactError, "not an artefact of edgec")


def test_the_pictures_are_such_that_features_differ(built: BuildResult) -> None:
    """What the tests above rest on."""
    features = open_artefact(built.directory).golden.expected_float32["cls"]
    assert cosines(features[:1].repeat(3, 0), features[1:]).max() < 0.999
    assert pictures(SMALL, 1).shape == (1, 64, 96, 3)
