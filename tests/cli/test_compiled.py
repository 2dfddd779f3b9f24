"""`check --compile` and `explain --kernels`, with NVIDIA's real compiler."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from edgec.building import BuildResult, build
from edgec.lowering.tensorrt.compiler import machines
from edgec.records.consistency import read_report
from edgec.request import BuildRequest
from tests.lowering.tensorrt.graphs import F32, graph, node
from tests.support.files import save_checkpoint
from tests.support.frames import draw_pictures
from tests.support.models import SMALL

Said = Callable[..., tuple[int, str, str]]
installed = pytest.mark.skipif(not machines.availability().available, reason="NVIDIA's compiler is not installed")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    folder = tmp_path_factory.mktemp("compiled")
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    checkpoint, frames = str(folder / "checkpoint"), str(folder / "frames")
    return build(
        BuildRequest(checkpoint, calibration=frames, target="jetson", size=SMALL, output=folder / "robot.edgec", min_fidelity=0.5)
    )


@pytest.fixture
def refused(tmp_path: Path) -> Path:
    path = tmp_path / "det.onnx"
    onnx.save(graph([node("Det", "x", "y")], [("x", F32, [1, 4, 4])], [("y", F32, [1])]), path)
    return path


@installed
def test_a_build_compiles_every_candidate_for_orin_and_thor(built: BuildResult) -> None:
    report = read_report(built.directory / "report.json")
    for candidate in report.candidates:
        *orin, thor = candidate.compilations
        assert [each.sm for each in orin] == ([] if candidate.precision == "fp8" else ["86"]), "only Thor has fp8"
        assert all("jetson-orin-nano" in each.boards for each in orin)
        assert (thor.sm, thor.boards) == ("120", ("jetson-thor",))
        assert all(each.accepted for each in candidate.compilations), candidate.name
        assert all(bound.estimate_ms is not None and bound.estimate_ms > bound.bound_ms for bound in candidate.bounds)
    assert "compiled on host" in (built.directory / "report.md").read_text()


@installed
def test_an_artefacts_kernels_are_shown_block_by_block(built: BuildResult, say: Said) -> None:
    code, out, err = say("explain", built.directory, "--kernels")
    assert code == 0, err
    assert out.index("before the blocks") < out.index("blocks.0") < out.index("behind the blocks")
    for words in ("attn.q", "mlp.fc1", "int8 1x", "fp16 1x"):
        assert words in out, words
    code, out, _ = say("explain", built.directory, "--kernels", "--sm", "120", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["compiled"]["sm"] == "120"
    assert len(document["kernels"]) == document["compiled"]["kernels"]
    assert sum(kernel["moved_bytes"] for kernel in document["kernels"]) == document["compiled"]["moved_bytes"]


@installed
def test_a_graph_that_the_compiler_refuses_ends_with_1_and_its_words(refused: Path, say: Said) -> None:
    code, out, _ = say("check", refused, "--compile", "--sm", "86", "--tensorrt", "11.4")
    assert code == 1
    assert "SM 86: refused:" in out
    assert "Det" in out
    code, out, _ = say("check", refused, "--compile", "--sm", "86", "--json")
    assert code == 1
    (compiled,) = json.loads(out)["graphs"][0]["compiled"]
    assert compiled["refusal"]
    assert compiled["evidence"] == "compiled on host"


def test_bad_options(refused: Path, built: BuildResult, say: Said) -> None:
    for words, what in (
        (("check", refused, "--sm", "86"), "--sm needs --compile"),
        (("check", refused, "--compile", "--sm", "87"), "no SM '87'"),
        (("explain", built.directory, "--kernels", "--sm", "x"), "no SM 'x'"),
    ):
        code, out, err = say(*words)
        assert (code, out) == (2, ""), words
        assert what in err


def test_without_the_compiler_it_is_said_what_is_not_known(
    built: BuildResult, refused: Path, say: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machines, "MODULE", "no_such_compiler")
    code, _, err = say("check", refused, "--compile")
    assert code == 5
    assert "pip install 'edgec[nvidia]'" in err
    source = built.directory.parent
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(tmp_path / "cache"))
    again = ("--calibration", source / "frames", "--input-size", str(SMALL), "--min-fidelity", "0.5", "--precision", "fp16")
    code, _, err = say("build", source / "checkpoint", *again, "--target", "jetson", "-o", tmp_path / "made.edgec")
    assert code == 0, err
    report = read_report(tmp_path / "made.edgec" / "report.json")
    assert any("No vendor's compiler has seen these graphs" in note for note in report.notes)
    assert all(not candidate.compilations for candidate in report.candidates)
