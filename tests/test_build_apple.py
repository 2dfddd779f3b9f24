"""A build for Apple's chips, from a checkpoint to a package that is run as it was saved."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgec.artefact.contents import build_manifest_files
from edgec.artefact.manifest import MANIFEST
from edgec.artefact.verify import verify
from edgec.build import BuildResult, build
from edgec.errors import FidelityError, TargetError, VerificationError
from edgec.evidence import Evidence
from edgec.fidelity.metrics import worst
from edgec.report.reading import read_report
from edgec.request import BuildRequest
from tests.support.files import save_checkpoint
from tests.support.frames import draw_pictures
from tests.support.models import SMALL

pytest.importorskip("coremltools")


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> BuildRequest:
    folder = tmp_path_factory.mktemp("apple")
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    return BuildRequest(
        str(folder / "checkpoint"),
        target="apple",
        calibration=str(folder / "frames"),
        size=SMALL,
        min_fidelity=0.9,
        output=folder / "built.edgec",
    )


@pytest.fixture(scope="module")
def built(request_: BuildRequest) -> BuildResult:
    return build(request_)


def test_one_package_for_every_m_series_with_its_proof(built: BuildResult) -> None:
    manifest, report = built.manifest, built.report
    assert (manifest.target, manifest.runtime, manifest.precision) == ("apple", "coreml", "w8")
    assert manifest.entry == "model/w8.mlpackage/Manifest.json"
    listed = {file.path for file in manifest.files}
    package = {path.relative_to(built.directory).as_posix() for path in (built.directory / "model").rglob("*") if path.is_file()}
    assert len(package) == 3
    assert package <= listed
    tried = {candidate.precision: candidate for candidate in report.candidates}
    assert set(tried) == {"fp16", "w8", "int8"}
    for candidate in tried.values():
        assert candidate.fidelity is not None
        assert candidate.fidelity.evidence is Evidence.SIMULATED
        assert candidate.latency is None
        assert candidate.bounds == ()
    assert not report.host_is_target
    assert any("No latency was measured" in note for note in report.notes)
    assert read_report(built.directory / "report.json") == report


def test_the_saved_package_is_what_verify_runs(built: BuildResult) -> None:
    result = verify(built.directory)
    assert (result.runtime, result.files) == ("coreml", len(built.manifest.files))
    assert result.execution_precision == "w8; simulated on host"
    assert max(output.difference for output in result.outputs) == 0


def test_one_wrong_weight_in_a_saved_package_is_named(built: BuildResult, tmp_path: Path) -> None:
    """One of thousands hardly shows in the features, and the forger lists hashes anew."""
    from tests.lowering.coreml.evaluator.tampering import change_weight

    def flipped(values: NDArray[Any]) -> NDArray[Any]:
        place = np.unravel_index(np.abs(values).argmax(), values.shape)
        values[place] = -values[place]
        return values

    damaged = Path(shutil.copytree(built.directory, tmp_path / "damaged.edgec"))
    change_weight(damaged / "model" / "w8.mlpackage", "blocks_1_mlp_fc1_weight", flipped)
    manifest = json.loads((damaged / MANIFEST).read_text())
    manifest["files"] = [file.model_dump() for file in build_manifest_files(damaged)]
    (damaged / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(VerificationError, match="the first operation that differs is blocks_1_mlp_fc1_add "):
        verify(damaged)


def test_the_package_says_what_it_is(built: BuildResult) -> None:
    from edgec.lowering.coreml.sdk import quiet

    with quiet():
        import coremltools as ct

        package = built.directory / "model" / "w8.mlpackage"
        said = ct.models.MLModel(str(package), skip_model_load=True)
    assert said.user_defined_metadata["edgec.build_key"] == built.manifest.build_key
    assert said.author.startswith("edgec ")
    assert said.license
    assert "RGB" in said.input_description["frames"]
    assert "CLS" in said.output_description["cls"]


def test_a_chip_where_w8a8_pays_gets_it_first(request_: BuildRequest, built: BuildResult, tmp_path: Path) -> None:
    """Everything else comes from the cache."""
    m4 = build(replace(request_, target="apple-m4", output=tmp_path / "m4.edgec"))
    assert m4.manifest.precision == "int8"
    assert worst(m4.manifest.fidelity[-1]) > 0.9
    with pytest.raises(TargetError, match="does not offer int8"):
        build(replace(request_, target="apple-m1", precision="int8", output=tmp_path / "m1.edgec"))


def test_lookup_tables_are_built_when_asked_for_and_judged_like_others(request_: BuildRequest, tmp_path: Path) -> None:
    found = build(replace(request_, precision="w6", output=tmp_path / "w6.edgec"))
    assert found.manifest.precision == "w6"
    with pytest.raises(FidelityError, match="No candidate keeps the features"):
        build(replace(request_, precision="w4", min_fidelity=0.9999, output=tmp_path / "w4.edgec"))


def test_the_same_build_is_the_same_bytes(request_: BuildRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = build(replace(request_, precision="fp16", output=tmp_path / "one.edgec"))
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(tmp_path / "other cache"))
    other = build(replace(request_, precision="fp16", output=tmp_path / "other.edgec"))
    assert one.manifest == other.manifest
