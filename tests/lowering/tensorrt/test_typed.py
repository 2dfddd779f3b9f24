"""Which node runs in which type, and that types are said, never mixed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgec.errors import ExportError, UnsupportedOperation
from edgec.graph.plan import PrecisionPlan
from edgec.lowering.halves import constant_problem, to_half
from edgec.lowering.tensorrt import TensorRt
from edgec.lowering.tensorrt.typed import residual_adds
from edgec.precision.static import uniform
from tests.lowering.cases import plan_of
from tests.lowering.tensorrt.graphs import F32, graph, node, opset_17, typed_graph, weights
from tests.support.models import CONVNEXT, SWIGLU, VIT, exported
from tests.support.onnx_graphs import constants, makers, nodes, readers

HALF = TensorProto.FLOAT16


def int8(spec: object, *, rest: str = "fp16", kept: tuple[str, ...] = ()) -> onnx.ModelProto:
    made = exported(spec)  # type: ignore[arg-type]
    plan = plan_of(TensorRt(), "int8", made, rest=rest)
    operations = {name: precision for name, precision in plan.operations.items() if name not in kept}
    changed = PrecisionPlan("int8", plan.default, operations=operations, ranges=plan.ranges, activations="s8")
    return typed_graph(made.graph, changed)[0]


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    return {value.name: value.type.tensor_type.elem_type for value in values}


@pytest.mark.parametrize("spec", [VIT, SWIGLU, CONVNEXT], ids=["vit", "swiglu", "convnext"])
def test_norms_and_softmax_are_float32_and_the_residual_stream_and_the_embedding_are_not(spec: object) -> None:
    for model in (typed_graph(exported(spec).graph, uniform("fp16"))[0], int8(spec)):  # type: ignore[arg-type]
        actual = kinds(model)
        for each in (*nodes(model, "LayerNormalization"), *nodes(model, "Softmax"), *nodes(model, "ReduceMean")):
            assert actual[each.input[0]] == actual[each.output[0]] == F32, each.name
        assert actual[nodes(model, "Conv")[0].output[0]] == HALF
        values = constants(model)
        # RoPE adds too, within attention.
        stream = [each for each in nodes(model, "Add") if not set(each.input) & set(values) and ".attn." not in each.name]
        assert len(stream) == 4
        for each in stream:
            assert actual[each.output[0]] == HALF, each.name


@pytest.mark.parametrize("spec", [VIT, CONVNEXT], ids=["vit", "convnext"])
def test_the_residual_stream_is_float32_where_the_plan_says_so(spec: object) -> None:
    """As `with_headroom` says where massive activations could overflow fp16."""
    hub = exported(spec).graph  # type: ignore[arg-type]
    (name, *_) = sorted(residual_adds(list(hub.graph)))
    model = typed_graph(hub, PrecisionPlan("fp16", "fp16", {name: "fp32"}))[0]
    actual = kinds(model)
    assert actual[name] == F32
    assert {actual[other] for other in residual_adds(list(hub.graph)) if other != name} == {HALF}


def test_products_are_fp16_with_their_biases_and_what_lies_between() -> None:
    model = typed_graph(exported(VIT).graph, uniform("fp16"))[0]
    actual = kinds(model)
    products = nodes(model, "MatMul")
    assert len(products) == 16
    for product in products:
        assert actual[product.input[0]] == actual[product.output[0]] == HALF
    for name in (
        "blocks.0.attn.q.add",
        "blocks.0.attn.joint.rotated",
        "blocks.0.attn.joint.turned",
        "blocks.0.mlp.erf",
        "blocks.0.mlp.fc2.add",
    ):
        assert actual[name] == HALF, name


def test_int8_products_read_their_pairs_directly_and_nothing_is_cast_in_an_mlp() -> None:
    model = int8(VIT)
    made, actual = makers(model), kinds(model)
    counted = Counter()  # type: ignore[var-annotated]
    for product in nodes(model, "MatMul"):
        above = [made[name].op_type if name in made else "constant" for name in product.input]
        counted[tuple(above)] += above == ["DequantizeLinear", "DequantizeLinear"]
        if above[0] == "DequantizeLinear":
            assert actual[product.output[0]] == F32
    assert counted["DequantizeLinear", "DequantizeLinear"] == 12
    for name in ("blocks.0.mlp.fc1.add", "blocks.0.mlp.erf", "blocks.0.mlp.mul_2", "blocks.0.mlp.fc2.add"):
        assert actual[name] == F32, name
    # What is added to the residual stream is rounded once, behind the last bias.
    assert {cast.name for cast in nodes(model, "Cast") if ".mlp." in cast.name} == {
        "blocks.0.mlp.fc2.add.fp16",
        "blocks.1.mlp.fc2.add.fp16",
    }


def test_attention_is_whole() -> None:
    """From the rotated Q and K to what is mixed: products in fp16, Softmax between two Casts, no Q/DQ."""
    for model in (typed_graph(exported(VIT).graph, uniform("fp16"))[0], int8(VIT)):
        made, actual = makers(model), kinds(model)
        softmaxes = nodes(model, "Softmax")
        assert len(softmaxes) == 2
        for softmax in softmaxes:
            cast = made[softmax.input[0]]
            scores = made[cast.input[0]]
            [back] = readers(model, softmax.output[0])
            [mix] = readers(model, back.output[0])
            assert [each.op_type for each in (scores, cast, back, mix)] == ["MatMul", "Cast", "Cast", "MatMul"]
            assert actual[scores.output[0]] == actual[mix.output[0]] == HALF
            assert {actual[name] for each in (scores, mix) for name in each.input} == {HALF}


def test_an_exception_from_int8_runs_in_fp16_with_its_neighbours_cast() -> None:
    model = int8(VIT, kept=("blocks.0.mlp.fc2",))
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    actual = kinds(model)
    assert actual["blocks.0.mlp.fc1.add"] == F32
    assert actual["blocks.0.mlp.mul_2"] == actual["blocks.0.mlp.fc2"] == actual["blocks.0.mlp.fc2.add"] == HALF
    assert actual["blocks.1.mlp.mul_2"] == F32


def test_each_tensor_is_cast_once_a_type() -> None:
    for model in (typed_graph(exported(VIT).graph, uniform("fp16"))[0], int8(VIT), int8(CONVNEXT)):
        casts = Counter((cast.input[0], cast.attribute[0].i) for cast in nodes(model, "Cast"))
        assert set(casts.values()) == {1}
        names = [each.name for each in model.graph.node]
        assert len(set(names)) == len(names)


def test_unread_constants_are_gone() -> None:
    for precision in ("fp16", "fp32"):
        model = typed_graph(exported(CONVNEXT).graph, uniform(precision))[0]  # type: ignore[arg-type]
        read = {name for each in model.graph.node for name in each.input}
        assert {entry.name for entry in model.graph.initializer} <= read


def test_fp16_halves_the_file_and_int8_quarters_its_products() -> None:
    made = exported(VIT)
    sizes = [len(typed_graph(made.graph, uniform(kind))[0].SerializeToString()) for kind in ("fp32", "fp16")]  # type: ignore[arg-type]
    assert sizes[1] < 0.75 * sizes[0]


# --- opset 17


def test_reduce_mean_gets_its_axes_as_an_attribute() -> None:
    hub = exported(CONVNEXT).hub
    lowered = opset_17(hub)
    [mean] = nodes(lowered, "ReduceMean")
    assert len(mean.input) == 1
    assert {attribute.name: list(attribute.ints) for attribute in mean.attribute}["axes"] == [1, 2]
    assert not [attribute for each in nodes(lowered, "Reshape") for attribute in each.attribute]
    onnx.checker.check_model(lowered, full_check=True)
    assert hub.SerializeToString(deterministic=True) == exported(CONVNEXT).content


@pytest.mark.parametrize(
    ("kind", "opset"), [("Gelu", 20), ("Attention", 23), ("BitwiseNot", 18)], ids=["newer", "attention", "of 18"]
)
def test_operators_that_opset_17_lacks_are_refused_by_name(kind: str, opset: int) -> None:
    inputs = "x x x" if kind == "Attention" else "x"
    model = graph([node(kind, inputs, "y")], [("x", F32, [1, 1, 4, 4])], [("y", F32, [1, 1, 4, 4])], opset=opset)
    with pytest.raises(UnsupportedOperation, match="opset 17") as caught:
        opset_17(model)
    assert kind in str(caught.value)


# --- constants


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (weights(64, 64), ""),
        (np.zeros((4, 4), np.float32), ""),
        (np.array([], np.float32), ""),
        (np.array([65504.0], np.float32), ""),
        (np.array([65520.0, 1.0], np.float32), "fp16 ends at 65504"),
        (np.array([np.inf], np.float32), "fp16 ends"),
        (np.array([np.nan], np.float32), "fp16 ends"),
        (weights(64, 64, scale=1e-6), "loses"),
        (weights(64, 64, scale=1e-9), "loses 100.0%"),
        # A few tiny values among normal ones are no loss.
        (np.concatenate([weights(1000), weights(1000, scale=1e-9)]), ""),
    ],
)
def test_what_fits_fp16(value: np.ndarray, problem: str) -> None:  # type: ignore[type-arg]
    actual = constant_problem(value)
    assert actual.startswith(problem) if not problem else problem in actual
    assert bool(actual) == bool(problem)
    if problem:
        with pytest.raises(ExportError, match="constant c does not fit"):
            to_half(value, "c")
    else:
        assert to_half(value, "c").dtype == np.float16
