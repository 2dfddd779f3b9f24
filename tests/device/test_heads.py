"""Artefacts with heads on the robot: what they decide is compared with float32's, reported, and never active if it is something
else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgec.backends.program import BUNDLE
from edgec.durable import sha256_of
from edgec.fidelity.metrics import Fidelity
from edgec.lowering.base import LoweredModel
from edgec.lowering.tensorrt import TensorRt
from edgec.records.evidence import Evidence
from tests.device.conftest import told
from tests.device.heads import said, write_heads
from tests.device.robot import Robot, check_whole
from tests.support.onnx_graphs import replace_constant

HEADS = ["kind", "floor", "parts", "grasp", "far", "scene"]


@pytest.fixture(scope="session")
def with_heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return write_heads(tmp_path_factory.mktemp("artefact") / "heads.edgec")


@pytest.fixture
def start(facts: Path, memo: Path, program: Path, tmp_path: Path) -> Callable[[Path], Robot]:
    return lambda bundle: Robot(bundle, facts, tmp_path / "root", program=program, env=told(memo))


def changed(bundle: Path, place: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy that says something else, with its files' hashes as they then are."""
    shutil.copytree(bundle, place)
    document = said(place)
    change(document)
    for file in document["files"]:
        path = place / file["path"]
        file.update(sha256=sha256_of(path), size_bytes=path.stat().st_size)
    (place / BUNDLE).write_text(json.dumps(document))
    return place


@pytest.mark.parametrize("version", ["8.6.2", "10.3.0"])
def test_heads_decisions_are_in_the_report(with_heads: Path, start: Callable[[Path], Robot], version: str) -> None:
    robot = start(with_heads)
    done = robot.run("run-all", STANDIN_TENSORRT=version)
    assert done.code == 0, done
    assert done.of("problem") == []
    check_whole(robot)
    report = robot.report()
    assert [head.name for head in report.heads] == HEADS
    assert report.heads[1].classes == ("floor", "wall", "thing")
    found = {candidate.name: candidate.fidelity.tasks for candidate in report.candidates if candidate.fidelity}
    assert set(found) == ({"int8", "fp16"} if version == "10.3.0" else {"fp16"})  # int8 needs TensorRT 10
    assert [task.head for task in found["fp16"]] == HEADS
    if "int8" in found:
        assert found["fp16"][1].retained > found["int8"][1].retained > 0.5
    else:
        (flags,) = (robot.record(folder.name, "engine")["flags"] for folder in robot.home.glob("engines/fp16-*"))
        assert any("heads.floor.upsample:fp32" in flag for flag in flags), "types are told by name there"
    table = done.of("table")[0]["text"]
    assert "kind agrees" in table
    assert "floor IoU" in table
    assert all(len(line) <= 80 for line in table.splitlines())
    assert {task["head"] for task in done.of("done", step="verify")[0]["tasks"]} == set(HEADS)


def test_figures_are_edgec_s_own(with_heads: Path, start: Callable[[Path], Robot]) -> None:
    """In float32, where the stand-in and the imitation here compute the same; trtexec prints six digits."""
    robot = start(with_heads)
    assert robot.run("run-all", "--variant", "fp32").code == 0
    report = robot.report()
    (found,) = (candidate.fidelity for candidate in report.candidates if candidate.fidelity)
    runner = TensorRt().load(LoweredModel("tensorrt", with_heads / "model", "fp32.onnx", ("fp32.onnx",)))
    meter = Fidelity(report.heads)
    with np.load(with_heads / "golden" / "frames.npz") as frames, np.load(with_heads / "golden" / "expected_float32.npz") as file:
        for index, frame in enumerate(frames["frames"]):
            meter.add({name: file[name][index : index + 1] for name in file.files}, runner(frame[None]))
    for mine, theirs in zip(found.tasks, meter.summary("imitated", Evidence.SIMULATED).tasks, strict=True):
        assert mine.output == theirs.output
        flat, other = (flatten(each.model_dump()) for each in (mine, theirs))
        assert flat == pytest.approx(other, rel=1e-4, abs=1e-5), mine.head


def flatten(found: dict[str, Any]) -> dict[str, Any]:
    """Its figures, by their names."""
    figures = next(value for value in found.values() if isinstance(value, dict))
    iou = dict(enumerate(figures.pop("iou", ())))
    return figures | {str(index): value for index, value in iou.items()}


def test_without_features_only_heads_are_verified(start: Callable[[Path], Robot], tmp_path: Path) -> None:
    robot = start(write_heads(tmp_path / "alone.edgec", features=False))
    assert robot.run("run-all").code == 0
    assert {each["name"] for each in said(robot.bundle)["outputs"]} == set(HEADS)
    report = robot.report()
    (int8, *_) = report.candidates
    assert int8.fidelity is not None
    assert int8.fidelity.cls_cosine_mean is int8.fidelity.patch_cosine_p01 is None
    assert [task.head for task in int8.fidelity.tasks] == HEADS
    code, out, _ = robot.say("status")
    assert code == 0
    assert "int8" in out


def miscompile(name: str, model: onnx.ModelProto) -> None:
    """As a compiler would: shapes and types stay, numbers do not."""
    if name == "resize":
        for node in model.graph.node:
            for attribute in node.attribute if node.op_type == "Resize" and "far" in node.name else ():
                if attribute.name == "coordinate_transformation_mode":
                    attribute.s = b"asymmetric"
    elif name == "argmax":
        first, *_ = (node for node in model.graph.node if node.op_type == "ReduceMax" and "floor" in node.name)
        first.op_type = "ReduceMin"  # a label is where a score is the largest
    else:
        replace_constant(model, "heads.kind.scores.bias", np.negative)


@pytest.mark.parametrize(("fault", "head"), [("resize", "far"), ("argmax", "floor"), ("scores", "kind")], ids=lambda each: each)
def test_a_head_that_an_engine_gets_wrong_keeps_it_from_the_robot(
    with_heads: Path, start: Callable[[Path], Robot], tmp_path: Path, fault: str, head: str
) -> None:
    """The features are right: what is wrong is behind them."""

    def spoil(document: dict[str, Any]) -> None:
        path = tmp_path / "bundle" / "model" / "fp32.onnx"
        model = onnx.load(path)
        miscompile(fault, model)
        onnx.save(model, path)
        document["variants"] = [variant for variant in document["variants"] if variant["name"] == "fp32"]

    robot = start(changed(with_heads, tmp_path / "bundle", spoil))
    done = robot.run("run-all")
    assert done.code == 9, done
    assert robot.current is None
    assert f"{head} " in " ".join(done.error["evidence"])
    figures = json.loads(next(robot.home.glob("engines/fp32-*/verify.json")).read_text())["figures"]
    assert min(figures.values()) > 0.999


def test_an_engine_that_ignores_its_input_is_never_active(with_heads: Path, start: Callable[[Path], Robot]) -> None:
    robot = start(with_heads)
    done = robot.run("run-all", "--variant", "fp16", faults="blind")
    assert done.code == 9, done
    assert robot.current is None


def test_engines_are_verified_again_with_other_bounds(with_heads: Path, start: Callable[[Path], Robot], tmp_path: Path) -> None:
    robot = start(with_heads)
    assert robot.run("run-all").code == 0

    def stricter(document: dict[str, Any]) -> None:
        document["variants"][0]["bounds"]["floor"]["agreement"] = 1.0

    robot.bundle = changed(with_heads, tmp_path / "stricter", stricter)
    done = robot.run("run-all")
    assert done.code == 0
    (problem,) = done.of("problem")
    assert problem["variant"] == "int8"
    assert "floor has" in problem["evidence"][0]
    assert robot.current is not None
    assert robot.current.startswith("fp16")


def of(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (each for each in document["outputs"] if each["name"] == name)
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document["variants"][0].pop("bounds"),
        lambda document: document["variants"][0]["bounds"].pop("far"),
        lambda document: document["variants"][0]["bounds"]["far"].update(cosine="1"),
        lambda document: of(document, "floor").update(role="thoughts"),
        lambda document: of(document, "floor").update(role="logits"),
        lambda document: document["outputs"].remove(of(document, "patches")),
        lambda document: document.update(heads=[{"name": "kind"}]),
        lambda document: document.update(heads=["kind"]),
    ],
    ids="bounds one text role rank half unheaded spoken".split(),  # noqa: SIM905
)
def test_incomplete_bundles_are_refused(
    with_heads: Path, start: Callable[[Path], Robot], tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    done = start(changed(with_heads, tmp_path / "bundle", change)).run("install")
    assert done.error["what"] == "The bundle is damaged."
