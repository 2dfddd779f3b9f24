"""Heads beside the backbone's operations: told of, never quantised, and no measure of anything but what they give."""

from __future__ import annotations

from dataclasses import replace

import onnx
import onnx_ir as ir
import pytest

from edgec.graph.files import serialised
from edgec.graph.operations import HEADS, operations
from edgec.graph.passes.base import rewritten
from edgec.graph.passes.outputs import GiveOnly
from edgec.graph.residual import residual_writers
from edgec.graph.statistics import Statistics, observe
from edgec.heads.attach import attach
from edgec.lowering.tensorrt.writing import with_headroom
from edgec.precision.explaining import explain
from edgec.precision.planning import Planner
from edgec.precision.recipes import STATIC
from edgec.precision.search import predict_sensitivity
from edgec.precision.sensitivity import measure_sensitivity
from edgec.precision.static import INT8_KINDS, int8_activations
from edgec.records.evidence import Evidence
from edgec.records.fidelity import StageFidelity
from edgec.records.report import CandidateFigures
from tests.support import heads as made
from tests.support.frames import pictures
from tests.support.models import SMALL, VIT, exported

DEEP = replace(VIT, depth=4)
LAYERS = (0, 1, 2, 3)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("heads")
    heads = (
        made.linear(folder, 64, features="cls"),
        made.segmentation(folder, 64),
        made.depth(folder, (64,) * 4, LAYERS),
    )
    return serialised(attach(exported(DEEP, layers=LAYERS).graph, heads))


@pytest.fixture
def hub(content: bytes) -> ir.Model:
    return ir.from_proto(onnx.ModelProto.FromString(content))


@pytest.fixture(scope="module")
def statistics(content: bytes) -> dict[str, Statistics]:
    hub = ir.from_proto(onnx.ModelProto.FromString(content))
    return observe(hub, int8_activations(hub), pictures(SMALL, 4), 1)


def test_operations_of_heads_are_of_a_kind_of_their_own(hub: ir.Model) -> None:
    actual, alone = operations(hub), operations(exported(DEEP, layers=LAYERS).graph)
    assert [entry for entry in actual if entry.kind != "head"] == list(alone)
    heads = [entry for entry in actual if entry.kind == "head"]
    assert len(heads) > 30
    assert all(entry.name.startswith(HEADS) for entry in heads)
    assert "heads.depth.reassemble_blocks.resize_layers.0" in {entry.name for entry in heads}, "transposed convolutions too"
    assert not {entry.activation for entry in heads} & set(int8_activations(hub))
    # A depth head adds maps up, and what it adds is nobody's residual stream.
    assert residual_writers(hub) == residual_writers(exported(DEEP, layers=LAYERS).graph)


def test_explanations_of_heads(hub: ir.Model, statistics: dict[str, Statistics]) -> None:
    plan = Planner(hub, statistics).plan(kinds=INT8_KINDS, rest="bf16")
    fidelity = StageFidelity(
        stage="x", cls_cosine_mean=None, patch_cosine_mean=None, patch_cosine_p01=None, frames=1, evidence=Evidence.HOST
    )
    candidate = CandidateFigures(name="openvino-int8-static", runtime="openvino", precision="int8", fidelity=fidelity)
    for model in (hub, rewritten(hub, GiveOnly(["kind"]))):
        told = explain(model, plan, STATIC, statistics, {}, [], candidate, [candidate])
        heads = [entry for entry in told.operations if entry.kind == "head"]
        assert {entry.precision for entry in heads} == {"bf16"}
        assert {entry.reason for entry in heads} == {heads[0].reason}
        assert "never quantised" in heads[0].reason
        assert all(entry.precision == "int8" for entry in told.operations if entry.kind == "linear")
    macs = {kind: sum(entry.macs for entry in told.operations if entry.kind == kind) for kind in ("linear", "head")}
    assert told.int8_macs_share < macs["linear"] / (macs["linear"] + macs["head"])


def test_what_could_overflow_in_a_head_is_no_operation_to_search(hub: ir.Model, statistics: dict[str, Statistics]) -> None:
    plan = Planner(hub, statistics, activations="s8").plan(kinds=INT8_KINDS, rest="fp16")
    careful = with_headroom(hub, plan, {"heads.depth.bins.add": 1e6, "blocks.2.attn.scores": 1e6})
    assert {name for name in careful.operations if name.startswith(HEADS)} > {"heads.depth.bins.weighed"}
    assert careful.precision_of("blocks.2.attn.scores") == "fp32"
    fidelity = StageFidelity(
        stage="x", cls_cosine_mean=1, patch_cosine_mean=1, patch_cosine_p01=1, frames=1, evidence=Evidence.SIMULATED
    )
    candidate = CandidateFigures(name="tensorrt-int8-static", runtime="tensorrt", precision="int8", fidelity=fidelity)
    told = explain(hub, careful, STATIC, statistics, {}, [], candidate, [candidate])
    wide = {entry.name: entry.reason for entry in told.operations if entry.precision == "fp32"}
    assert set(wide) == set(careful.of("fp32"))
    assert set(wide.values()) == {"what it reads or makes comes too near the end of fp16's range"}
    predicted = predict_sensitivity(hub, statistics, careful)
    assert set(predicted) == {entry.name for entry in operations(hub) if entry.kind == "linear"}


def test_sensitivity_is_measured_at_the_outputs_that_there_are(hub: ir.Model, statistics: dict[str, Statistics]) -> None:
    """With patches at them, whatever else there is; else at the heads' outputs, labels among them."""
    frames = pictures(SMALL, 2)
    plan = Planner(hub, statistics).plan(kinds=INT8_KINDS, rest="fp32")
    actual = {}
    for name, outputs in {"all": None, "patches": ["patches"], "kind": ["kind"], "floor": ["floor"]}.items():
        model = hub if outputs is None else rewritten(hub, GiveOnly(outputs))
        told: list[str] = []
        actual[name] = measure_sensitivity(model, plan, list(frames), 1, step=told.append)
        assert set(told) == set(actual[name])
    assert actual["all"] == pytest.approx(actual["patches"], rel=0.05, abs=1e-6)
    assert max(actual["kind"].values()) > 0
    assert 0 < max(actual["floor"].values()) < 0.2
