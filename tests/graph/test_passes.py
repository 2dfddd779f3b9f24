"""What every pass promises is checked when it runs: a graph that it cannot work on is refused, and so is what it damages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from edgec.errors import ExportError
from edgec.graph.files import serialised
from edgec.graph.passes.base import BrokenPromise, Rewrite, rewritten
from edgec.graph.passes.correct import CorrectBiases
from edgec.graph.passes.quantise import Quantise
from edgec.graph.passes.smooth import Smooth
from edgec.graph.passes.switch import InsertSwitches
from edgec.graph.plan import PrecisionPlan, Range
from edgec.graph.planned import apply_plan, in_float
from edgec.lowering.bias import LiftBiases
from edgec.lowering.tensorrt.casting import CastToTypes
from edgec.lowering.tensorrt.opset import ToOpset17
from edgec.lowering.tensorrt.simulation import RoundHalves
from edgec.lowering.tensorrt.typed import assign_types
from tests.lowering.cases import ranges
from tests.support.models import VIT, exported

PRODUCT, ACTIVATION = "blocks.0.mlp.fc1", "blocks.0.norm2"
PLAN = PrecisionPlan("one", "fp32", {PRODUCT: "int8"}, {ACTIVATION: Range(-9.0, 9.0)})


def value(model: ir.Model, name: str) -> ir.Value:
    return ir.convenience.create_value_mapping(model.graph)[name]


def _same_names(model: ir.Model) -> None:
    model.graph.node("blocks.1.mlp.fc1").name = PRODUCT


def _out_of_order(model: ir.Model) -> None:
    node = model.graph.node(PRODUCT)
    model.graph.remove(node)
    model.graph.append(node)


def _unknown_shape(model: ir.Model) -> None:
    value(model, PRODUCT).shape = None


def _unknown_type(model: ir.Model) -> None:
    value(model, PRODUCT).type = None


@pytest.mark.parametrize(
    ("make", "damage", "words"),
    [
        (lambda: Smooth({}), _same_names, "two nodes are named blocks.0.mlp.fc1"),
        (lambda: Quantise(PLAN), _out_of_order, "blocks.0.mlp.fc1.add reads blocks.0.mlp.fc1 before it is made"),
        (lambda: Smooth({ACTIVATION: (1.0,) * 63}), None, "blocks.0.norm2 has 64 channels and 63 scales"),
        (lambda: Smooth({ACTIVATION: (0.0,) * 64}), None, "a scale of blocks.0.norm2 is no positive number"),
        (lambda: CorrectBiases({PRODUCT: (1.0,) * 3}), None, "blocks.0.mlp.fc1 has a bias of 128 channels, its correction 3"),
        (lambda: Quantise(replace(PLAN, ranges={})), None, "blocks.0.norm2, which blocks.0.mlp.fc1 reads, has no range"),
        (lambda: InsertSwitches(replace(PLAN, ranges={})), None, "blocks.0.norm2 has no range"),
        (lambda: LiftBiases(PLAN), _unknown_shape, "the shape of blocks.0.mlp.fc1.add is not known"),
        (lambda: ToOpset17(), lambda model: model.graph.opset_imports.clear(), "which ONNX opset it uses"),
        (lambda: CastToTypes(assign_types(exported(VIT).graph, PLAN)), _unknown_type, "type or shape of blocks.0.mlp.fc1"),
        (lambda: RoundHalves(), _unknown_type, "the type of blocks.0.mlp.fc1 is not known"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_a_pass_relies_on_is_checked(
    make: Callable[[], Rewrite], damage: Callable[[ir.Model], None] | None, words: str
) -> None:
    hub = exported(VIT).graph
    if damage:
        damage(hub)
    with pytest.raises(BrokenPromise, match="cannot work on this graph") as caught:
        make()(hub)
    assert words in "\n".join(caught.value.evidence)
    assert isinstance(caught.value, ExportError)
    assert caught.value.remedy


class _Careless(Rewrite):
    def __init__(self, damage: Callable[[ir.Model], None]) -> None:
        super().__init__()
        self._damage = damage

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        self._damage(model)
        return ir.passes.PassResult(model, modified=True)


def _float_frames(model: ir.Model) -> None:
    model.graph.inputs[0].type = ir.TensorType(ir.DataType.FLOAT)


def _one_output_less(model: ir.Model) -> None:
    model.graph.outputs.pop()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_same_names, "two nodes are named blocks.0.mlp.fc1"),
        (_out_of_order, "before it is made"),
        (_float_frames, "input frames UINT8 (1, 64, 96, 3) became input frames FLOAT (1, 64, 96, 3)"),
        (_one_output_less, "output patches FLOAT (1, 4, 6, 64) became nothing"),
    ],
)
def test_what_a_pass_damages_is_noticed(damage: Callable[[ir.Model], None], words: str) -> None:
    with pytest.raises(BrokenPromise, match="_Careless left a damaged graph") as caught:
        _Careless(damage)(exported(VIT).graph)
    assert words in "\n".join(caught.value.evidence)


@pytest.mark.parametrize(
    ("rewrite", "forget", "words"),
    [
        (Quantise(PLAN), "replace_input_with", "blocks.0.mlp.fc1 does not read bytes"),
        (LiftBiases(PLAN), "replace_input_with", "blocks.0.mlp.fc1.add adds a bias of another rank"),
    ],
    ids=["quantise", "lift"],
)
def test_each_pass_checks_its_result(rewrite: Rewrite, forget: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = exported(VIT).graph
    model = hub if isinstance(rewrite, Quantise) else rewritten(hub, Quantise(PLAN))
    monkeypatch.setattr(ir.Node, forget, lambda *_: None)
    with pytest.raises(BrokenPromise, match="left a damaged graph") as caught:
        rewrite(model)
    assert words in "\n".join(caught.value.evidence)


def test_scales_that_are_not_positive_numbers_are_noticed() -> None:
    spoilt = replace(PLAN, ranges={ACTIVATION: Range(-float("inf"), float("inf"))})
    with pytest.raises(BrokenPromise, match="Quantise left a damaged graph") as caught, np.errstate(all="ignore"):
        rewritten(exported(VIT).graph, Quantise(spoilt))
    assert "a scale of blocks.0.norm2.dequantised is no positive number" in "\n".join(caught.value.evidence)


def test_the_original_model_is_unchanged_and_its_weights_are_shared() -> None:
    made = exported(VIT)
    hub = made.graph
    plan = replace(PLAN, ranges=ranges(made), smoothing={ACTIVATION: (2.0,) * 64}, corrections={PRODUCT: (0.5,) * 128})
    planned = apply_plan(hub, plan)
    assert serialised(hub) == made.content
    shared = [name for name, each in planned.graph.initializers.tensor_items() if each is hub.graph.initializers.get_tensor(name)]
    assert len(shared) > 0.9 * len(hub.graph.initializers)
    assert PRODUCT not in {node.op_type for node in in_float(hub, plan).graph}
    assert "QuantizeLinear" not in {node.op_type for node in in_float(hub, plan).graph}
    assert apply_plan(hub, replace(plan, operations={})) is hub
