"""The family of RTX GPUs: profiles, what is packed, and what is checked of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgec.backends.profiles import family
from edgec.backends.program import BUNDLE
from edgec.backends.rtx.packing import compile_engine
from edgec.backends.rtx.profile import as_generations
from edgec.backends.rtx.program import PROGRAM
from edgec.building import BuildResult, build
from edgec.errors import ArtefactError, RuntimeFailure
from edgec.lowering.base import Availability
from edgec.lowering.tensorrt.compiler import machines
from edgec.records.evidence import Evidence
from edgec.request import BuildRequest
from edgec.verifying import verify
from tests.rtx_device.conftest import asked, built  # noqa: F401 - the same build
from tests.support.forging import edit, repair

GENERATIONS = {"rtx-ampere": "8.6", "rtx-ada": "8.9", "rtx-blackwell": "12.0", "rtx-spark": "12.1"}


def test_four_generations_are_the_family() -> None:
    actual = {profile.name: profile.rtx.compute_capability for profile in as_generations(family("rtx"))}
    assert actual == GENERATIONS


def test_each_graph_was_compiled_for_each_generation_and_has_one_engine(built: BuildResult) -> None:  # noqa: F811
    (candidate,) = built.report.candidates
    assert {each.sm for each in candidate.compilations} == {"86", "89", "120", "121"}
    assert {each.evidence for each in candidate.compilations} == {Evidence.COMPILED}
    assert all(each.accepted and each.boards for each in candidate.compilations)
    assert candidate.latency is None
    assert {bound.evidence for bound in candidate.bounds} == {Evidence.ESTIMATED}
    assert {bound.board for bound in candidate.bounds} == set(GENERATIONS) - {"rtx-spark"}, "whose rates nobody gives"
    bundle = json.loads((built.directory / BUNDLE).read_text())
    (variant,) = bundle["variants"]
    assert set(variant["engine"]["compute_capabilities"]) == set(GENERATIONS.values())
    listed = {file.path for file in built.manifest.files}
    assert {variant["engine"]["path"], variant["path"], PROGRAM, BUNDLE} <= listed
    assert (built.directory / variant["engine"]["path"]).read_bytes().startswith(b"vtrt")


def test_the_same_graph_gives_the_same_engine(built: BuildResult, tmp_path: Path) -> None:  # noqa: F811
    graph = built.directory / "model" / "fp16.onnx"
    sms = [profile.rtx.sm for profile in as_generations(family("rtx"))]
    compile_engine(graph, sms, tmp_path / "again.engine")
    assert (tmp_path / "again.engine").read_bytes() == graph.with_suffix(".engine").read_bytes()
    (tmp_path / "none.onnx").write_bytes(b"no graph")
    with pytest.raises(RuntimeFailure, match="makes no engine of none"):
        compile_engine(tmp_path / "none.onnx", sms, tmp_path / "none.engine")


def test_it_verifies_here_and_what_contradicts_it_is_found(built: BuildResult, tmp_path: Path) -> None:  # noqa: F811
    assert all(output.passed for output in verify(built.directory).outputs)
    copy = Path(shutil.copytree(built.directory, tmp_path / "copy.edgec"))
    edit(copy / BUNDLE, lambda bundle: bundle["variants"][0]["engine"].update(path="model/other.engine"))
    repair(copy)
    with pytest.raises(ArtefactError, match="contradicts the artefact"):
        verify(copy)


def test_without_the_compiler_the_graph_goes_alone(
    asked: BuildRequest,  # noqa: F811
    built: BuildResult,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The machine has the compiler, too."""
    absent = Availability(False, problem="not installed", install=machines.INSTALL)
    monkeypatch.setattr(machines, "availability", lambda: absent)
    monkeypatch.setattr("edgec.backends.rtx.packing.availability", lambda: absent)
    bare = build(replace(asked, output=tmp_path / "bare.edgec"))
    (variant,) = json.loads((bare.directory / BUNDLE).read_text())["variants"]
    assert "engine" not in variant
    assert not bare.report.candidates[0].compilations
    assert any("pip install 'edgec[nvidia]'" in note for note in bare.report.notes)
    assert bare.manifest.build_key != built.manifest.build_key, "installing the compiler makes another artefact"
    verify(bare.directory)
