"""What else a build may be asked for, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgec.artefact.reading import open_artefact
from edgec.building import build
from edgec.errors import ArtefactError, CheckpointError, EdgecError, FidelityError, InputSizeError, RequestError
from edgec.model.spec import Size
from edgec.request import BuildRequest, resolve
from edgec.verifying import verify
from tests.support.frames import draw_pictures

# --- what can be asked for


@pytest.mark.parametrize(
    ("profile", "precision", "runtime"),
    [("ov", "fp32", "openvino"), ("ov", "bf16", "openvino"), ("ov", "int8", "openvino"), ("ort", "int8", "onnxruntime")],
)
def test_a_forced_precision_ships(ask: BuildRequest, inputs: Path, profile: str, precision: Any, runtime: str) -> None:
    request = replace(ask, target=str(inputs / f"{profile}.toml"), precision=precision, min_fidelity=0.9)
    manifest = build(request).manifest
    assert (manifest.runtime, manifest.precision, manifest.target) == (runtime, precision, profile)
    first, *_ = json.loads((request.output / "manifest.json").read_bytes())  # type: ignore[operator]
    if runtime == "openvino":
        hint = f'"INFERENCE_PRECISION_HINT": "{manifest.settings["INFERENCE_PRECISION_HINT"]}"'
        assert first == "open_with"
        assert hint in manifest.open_with
    else:
        assert (first, manifest.open_with) == ("schema_version", "")
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


def test_validation_frames_may_come_from_another_folder(ask: BuildRequest, inputs: Path, tmp_path: Path) -> None:
    draw_pictures(tmp_path / "judges", 3, side=128)
    result = build(
        replace(ask, validation=str(tmp_path / "judges"), precision="int8", target=str(inputs / "ort.toml"), min_fidelity=0.9)
    )
    assert result.manifest.validation.frames == 3
    assert result.manifest.calibration is not None
    assert result.manifest.calibration.frames == 16


def test_random_weights_are_reported(tmp_path: Path, inputs: Path) -> None:
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


def test_a_damaged_frame_is_listed_and_does_not_stop_the_build(ask: BuildRequest, tmp_path: Path) -> None:
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


def test_auto_does_not_ship_int8_that_loses_features(ask: BuildRequest, inputs: Path) -> None:
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


def test_existing_files_are_kept(ask: BuildRequest, inputs: Path) -> None:
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
def test_only_artefacts_are_replaced(ask: BuildRequest, force: bool, tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("years of work")
    (folder / "manifest.json").write_text('{"name": "a web app"}')
    refused(replace(ask, output=folder, force=force), ArtefactError, "not an artefact of edgec")
    assert (folder / "chapter.tex").read_text() == "years of work"
    refused(replace(ask, output=folder / "chapter.tex", force=force), ArtefactError, "not an artefact of edgec")
