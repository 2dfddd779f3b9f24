"""The forms that NVIDIA's compiler needs fewest kernels for compute what the hub graph computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from edgec.graph.passes.base import rewritten
from edgec.graph.plan import PrecisionPlan
from edgec.graph.session import open_session
from edgec.graph.values import array_of, input_of, shape_of
from edgec.lowering.tensorrt import TensorRt
from edgec.lowering.tensorrt.attention import JoinAttention, read_attention
from edgec.lowering.tensorrt.pixels import ScalePixels
from edgec.lowering.tensorrt.scales import MOST, FoldScales
from edgec.lowering.tensorrt.selection import SelectBeforeNorm
from edgec.lowering.tensorrt.simulation import RoundHalves
from edgec.lowering.tensorrt.typed import reads_bytes
from edgec.lowering.tensorrt.view import View
from edgec.lowering.tensorrt.writing import typed_model
from edgec.precision.static import uniform
from tests.lowering.cases import plan_of
from tests.support.models import BARE, CLS_NORM, CONVNEXT, HEADS, KEY_BIAS, SMALL, SWIGLU, VIT, Exported, exported

VITS = {"vit": VIT, "swiglu": SWIGLU, "no-registers": BARE, "key-bias": KEY_BIAS, "cls-norm": CLS_NORM, "two-heads": HEADS}
FLOAT = uniform("fp32")


def run(model: ir.Model, frames: NDArray[np.uint8]) -> list[NDArray[Any]]:
    return list(open_session(model, optimise=False).run(None, {"frames": frames}))


def kinds(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def int8(made: Exported, *, folded: bool = False) -> ir.Model:
    plan = plan_of(TensorRt(), "int8", made, rest="fp16", activations="s8", paired=False)
    return typed_model(made.graph, plan, folded=folded)[0]


@pytest.mark.parametrize(("name", "batch"), [*((name, 1) for name in VITS), ("vit", 2), ("two-heads", 2)])
def test_joint_attention_is_the_same_to_the_last_bit(name: str, batch: int) -> None:
    made = exported(VITS[name], SMALL, batch)  # type: ignore[arg-type]
    joined = rewritten(made.graph, JoinAttention(FLOAT))
    attentions = sum(read_attention(node) is not None for node in made.graph.graph if node.op_type == "Softmax")
    assert attentions == kinds(made.graph).count("Softmax") > 0
    assert kinds(joined).count("Gather") - kinds(made.graph).count("Gather") == 3 * attentions
    assert "Neg" not in kinds(joined)
    for expected, actual in zip(run(made.graph, made.frames), run(joined, made.frames), strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("operation", ["attn.q", "attn.k", "attn.v", "attn.scores", "attn.mix"])
def test_an_attention_of_two_types_stays_as_it_is(operation: str) -> None:
    """One rotation has one type: what holds Q in float32 would be rounded with V, or V cast for nothing."""
    made = exported(VIT)
    plan = PrecisionPlan("fp16", "fp16", {f"blocks.0.{operation}": "fp32"})
    joined = rewritten(made.graph, JoinAttention(plan))
    names = {node.name for node in joined.graph}
    assert not any(str(name).startswith("blocks.0.attn.joint") for name in names)
    assert any(str(name).startswith("blocks.1.attn.joint") for name in names)


def test_an_attention_of_another_form_is_left_alone() -> None:
    """Here Q has its halves exchanged the other way round, which is another rotation."""
    made = exported(VIT)
    model = made.graph
    turned = next(node for node in model.graph if node.name == "blocks.0.attn.concat")
    first, second = turned.inputs
    turned.replace_input_with(0, second)
    turned.replace_input_with(1, first)
    before = run(model, made.frames)
    joined = rewritten(model, JoinAttention(FLOAT))
    assert not any(str(node.name).startswith("blocks.0.attn.joint") for node in joined.graph)
    for expected, actual in zip(before, run(joined, made.frames), strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("name", ["vit", "cls-norm"])
@pytest.mark.parametrize("more", [{}, {"registers": True, "layers": (0,)}])
def test_tokens_are_selected_before_the_norm_without_a_change(name: str, more: dict[str, Any]) -> None:
    made = exported(VITS[name], **more)  # type: ignore[arg-type]
    moved = rewritten(made.graph, SelectBeforeNorm())
    for node in moved.graph:
        if node.op_type == "LayerNormalization" and not str(node.name).startswith("blocks."):
            assert all(use.node.op_type not in ("Slice", "Gather") for use in node.outputs[0].uses())
    for expected, actual in zip(run(made.graph, made.frames), run(moved, made.frames), strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("spec", [VIT, CONVNEXT], ids=["vit", "convnext"])
def test_a_power_of_two_moves_from_pixels_to_weights_without_a_change(spec: Any) -> None:
    made = exported(spec)
    scaled = rewritten(made.graph, ScalePixels())
    assert kinds(scaled).count("Mul") == kinds(made.graph).count("Mul") + 1
    for expected, actual in zip(run(made.graph, made.frames), run(scaled, made.frames), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_folded_scales_change_no_more_than_fp16_rounds() -> None:
    made = exported(VIT)
    plain = int8(made)
    folded = rewritten(plain, FoldScales())
    assert folded.graph.opset_imports[""] == 19
    products = [node for node in folded.graph if node.op_type == "MatMul" and reads_bytes(node, 1)]
    assert len(products) == 12
    assert {node.outputs[0].dtype for node in products} == {ir.DataType.FLOAT16}
    outputs = [run(rewritten(model, RoundHalves()), made.frames) for model in (plain, folded)]
    for expected, actual in zip(*outputs, strict=True):
        cosine = (expected * actual).sum() / np.linalg.norm(expected) / np.linalg.norm(actual)
        assert cosine > 0.9995


def test_no_sum_of_bytes_can_overflow_a_folded_product() -> None:
    """At worst every byte of an activation and of a weight is the largest there is."""
    folded = rewritten(int8(exported(VIT)), FoldScales())
    for node in folded.graph:
        if node.op_type != "MatMul" or not reads_bytes(node) or not reads_bytes(node, 1):
            continue
        activation, weight = (float(array_of(input_of(node.predecessors()[index], 1))) for index in (0, 1))
        assert np.log2(weight) % 1 == 0
        depth, _ = shape_of(input_of(node, 1)) or (0, 0)
        assert 127 * 127 * depth * activation * weight <= MOST


def test_an_activation_whose_scale_fp16_cannot_hold_stays_in_float32() -> None:
    model = int8(exported(VIT))
    pair = next(node for node in model.graph if node.name == "blocks.0.norm1.quantised")
    scale = pair.inputs[1]
    assert scale is not None
    scale.const_value = ir.tensor(np.float32(1e-6), name=scale.name)
    folded = rewritten(model, FoldScales())
    by_name = {node.name: node for node in folded.graph}
    for name in ("q", "k", "v"):
        assert by_name[f"blocks.0.attn.{name}"].outputs[0].dtype == ir.DataType.FLOAT
    assert by_name["blocks.0.attn.proj"].outputs[0].dtype == ir.DataType.FLOAT16


def test_what_is_written_is_what_onnx_takes() -> None:
    for spec in (VIT, CONVNEXT):
        for model in (typed_model(exported(spec).graph, uniform("fp16"))[0], int8(exported(spec), folded=True)):
            assert not View(ir.to_proto(model)).invalid
