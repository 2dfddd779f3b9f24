"""A build for boards, from a checkpoint to an engine that the program in the artefact has activated, with trtexec's stand-in."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgec.artefact.reading import open_artefact
from edgec.backends.profiles import family
from edgec.benchmarking import bench
from edgec.building import BuildResult, build
from edgec.cli import run
from edgec.errors import ArtefactError, FidelityError, RuntimeFailure, TargetError
from edgec.lowering.tensorrt.check import check_graph, read_graph
from edgec.lowering.tensorrt.lowering import TENSORRT, has_types
from edgec.lowering.tensorrt.rules import parse_version
from edgec.records.evidence import Evidence
from edgec.request import BuildRequest
from edgec.verifying import verify
from tests.device.robot import Robot, write_facts
from tests.support.files import save_checkpoint
from tests.support.frames import draw_pictures
from tests.support.models import SMALL


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> BuildRequest:
    folder = tmp_path_factory.mktemp("jetson")
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    return BuildRequest(
        str(folder / "checkpoint"),
        target="jetson",
        calibration=str(folder / "frames"),
        size=SMALL,
        min_fidelity=0.9,
        output=folder / "robot.edgec",
    )


@pytest.fixture(scope="module")
def built(request_: BuildRequest) -> BuildResult:
    return build(request_)


def bundle_of(result: BuildResult) -> dict[str, object]:
    found: dict[str, object] = json.loads((result.directory / "device" / "bundle.json").read_text())
    return found


def test_one_graph_a_precision_serves_all_of_orin_and_thor(built: BuildResult) -> None:
    said = bundle_of(built)
    assert [variant["name"] for variant in said["variants"]] == ["int8", "int8-folded", "fp8", "fp16", "fp32"]  # type: ignore[union-attr, attr-defined]
    boards = [board["profile"] for board in said["boards"]]  # type: ignore[union-attr, attr-defined]
    assert boards == [profile.name for profile in family("jetson")]
    assert built.manifest.target == built.report.target == said["target"] == "jetson"
    assert built.manifest.entry == "model/int8.onnx"
    assert {file.path for file in built.manifest.files} >= {"device/bundle.json", "device/edgec-device.pyz", "model/fp32.onnx"}


def test_every_tensorrt_in_range_takes_the_graphs(built: BuildResult) -> None:
    for precision, (low, below) in TENSORRT.items():
        graph = read_graph(built.directory / "model" / f"{precision}.onnx")
        assert {entry.version for entry in graph.opset_import if entry.domain == ""} == {
            19 if precision in ("int8-folded", "fp8") else 17
        }
        onnx.checker.check_model(graph, full_check=True)
        boards = [profile.jetson for profile in family("jetson")]
        versions = {version for board in boards for version in board.tensorrt_versions}
        wanted = [version for version in versions if parse_version(low) <= parse_version(version) < parse_version(below)]
        assert wanted
        assert not [finding for finding in check_graph(graph, wanted) if finding.is_error]


def test_nothing_claims_to_have_been_measured(built: BuildResult) -> None:
    report = built.report
    assert not report.host_is_target
    for candidate in report.candidates:
        assert candidate.latency is None
        assert candidate.cold_start is None
        assert candidate.fidelity is not None
        assert candidate.fidelity.evidence is Evidence.SIMULATED
        boards = {
            profile.name for profile in family("jetson") if has_types(candidate.precision, profile.jetson.compute_capability)
        }
        assert {bound.board for bound in candidate.bounds} == boards
        assert {bound.evidence for bound in candidate.bounds} == {Evidence.ESTIMATED}
        assert all(bound.bound_ms > 0 for bound in candidate.bounds)
    text = (built.directory / "report.md").read_text()
    assert "measured on target" not in text
    assert "estimated" in text
    assert not (built.directory / "report").exists(), "there is no latency to draw"


def test_int8_keeps_the_features(built: BuildResult) -> None:
    by_name = {candidate.precision: candidate.fidelity for candidate in built.report.candidates}
    assert by_name["fp16"] is not None
    assert by_name["int8"] is not None
    assert by_name["fp16"].patch_cosine_p01 > 0.999
    assert by_name["int8"].patch_cosine_p01 > 0.95


def test_it_verifies_here_and_a_changed_weight_is_found(built: BuildResult, tmp_path: Path) -> None:
    assert all(output.passed for output in verify(built.directory).outputs)
    copy = Path(shutil.copytree(built.directory, tmp_path / "copy"))
    graph = copy / "model" / "fp16.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 0x40
    graph.write_bytes(content)
    with pytest.raises(ArtefactError, match="changed"):
        open_artefact(copy)


def test_checking_it_judges_as_the_build_did(built: BuildResult, capsys: pytest.CaptureFixture[str]) -> None:
    """int8 is not for TensorRT 8.6, and no board with that gets it."""
    assert run(["check", str(built.directory), "--json"]) == 0
    versions = {Path(graph["graph"]).stem: graph["tensorrt"] for graph in json.loads(capsys.readouterr().out)["graphs"]}
    assert versions["fp16"][0] == "8.6"
    assert "10.3" in versions["int8"]
    assert "8.6" not in versions["int8"]
    assert "8.6" not in versions["int8-folded"]
    assert run(["check", str(built.directory), "--tensorrt", "8.6"]) == 1, "what is asked for is asked of all"


def test_an_estimate_is_a_range_of_two_digits(built: BuildResult) -> None:
    for candidate in built.report.candidates:
        for bound in candidate.bounds:
            assert bound.likely_ms is not None
            low, high = bound.likely_ms
            assert bound.bound_ms <= low * 1.06
            assert low < high
            assert all(len(f"{value:.12g}".replace(".", "").strip("0")) <= 2 for value in bound.likely_ms)
    text = (built.directory / "report.md").read_text()
    assert "likely ms" in text
    assert any("Likely ranges are estimates" in note for note in built.report.notes)


def test_it_cannot_be_benched_here(built: BuildResult) -> None:
    with pytest.raises(TargetError, match="nothing to measure on this machine"):
        bench(built.directory)


def test_the_same_inputs_give_the_same_bytes(
    built: BuildResult, request_: BuildRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(tmp_path / "cache"))
    again = build(replace(request_, output=tmp_path / "again.edgec"))
    for file in built.manifest.files:
        assert (again.directory / file.path).read_bytes() == (built.directory / file.path).read_bytes(), file.path


@pytest.mark.parametrize(
    ("fault", "active"),
    [
        ({}, "int8"),
        ({"STANDIN_FAULTS": "garbage@int8"}, "int8-folded"),
        ({"STANDIN_FAULTS": "garbage@int8,garbage@int8-folded"}, "fp16"),
    ],
    ids=["well", "garbage", "both garbage"],
)
def test_the_robot_finishes_it(built: BuildResult, tmp_path: Path, fault: dict[str, str], active: str) -> None:
    robot = Robot(
        built.directory,
        write_facts(tmp_path / "facts"),
        tmp_path / "root",
        env={"STANDIN_LATENCY": "int8=2,int8-folded=2.5,fp16=3,fp32=5"},
    )
    result = robot.run("run-all", **fault)
    assert result.code == 0, result.stderr
    assert robot.current is not None
    assert robot.current.startswith(f"{active}-")
    report = robot.report()
    assert report.chosen
    evidence = {part.evidence for candidate in report.candidates for part in (candidate.latency, candidate.fidelity) if part}
    assert evidence == {Evidence.SIMULATED}, "a stand-in measures nothing on any target"


def test_golden_frames_are_those_of_the_reference(built: BuildResult) -> None:
    golden = open_artefact(built.directory).golden
    assert np.isfinite(golden.expected_float32["patches"]).all()
    assert len(golden.frames) == bundle_of(built)["golden"]["count"]  # type: ignore[index]


def test_one_board_alone_and_a_precision_alone(request_: BuildRequest, tmp_path: Path) -> None:
    alone = replace(request_, target="jetson-orin-nano", precision="fp16", output=tmp_path / "one.edgec")
    result = build(alone)
    said = bundle_of(result)
    assert [board["profile"] for board in said["boards"]] == ["jetson-orin-nano"]  # type: ignore[union-attr, attr-defined]
    assert [variant["name"] for variant in said["variants"]] == ["fp16"]  # type: ignore[union-attr, attr-defined]
    assert result.manifest.target == "jetson-orin-nano"


def test_a_board_whose_tensorrt_takes_no_graph_is_refused(request_: BuildRequest, tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure) as caught:
        build(replace(request_, target="jetson-agx-xavier", output=tmp_path / "old.edgec"))
    assert any("none of these boards has a TensorRT and a GPU for fp16" in line for line in caught.value.evidence)


def test_a_budget_that_no_candidate_keeps_writes_nothing(request_: BuildRequest, tmp_path: Path) -> None:
    with pytest.raises(FidelityError):
        build(replace(request_, precision="int8", min_fidelity=1.0, output=tmp_path / "none.edgec"))
    assert not (tmp_path / "none.edgec").exists()
