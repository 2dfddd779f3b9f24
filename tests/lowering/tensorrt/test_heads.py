"""What heads bring into a typed graph: other operators, whole numbers, constants of all sizes, names of anybody's choice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgec.errors import UnsupportedOperation
from edgec.graph.files import serialised
from edgec.graph.operations import HEADS, PRODUCTS, operations
from edgec.graph.session import features_of, open_session
from edgec.graph.work import count_work
from edgec.heads import Head, read_head
from edgec.heads.attach import attach
from edgec.lowering.tensorrt import TensorRt
from edgec.lowering.tensorrt.check import check_graph
from edgec.lowering.tensorrt.writing import typed_model, with_headroom
from edgec.onboard.vectorised import cosines
from edgec.precision.static import uniform
from tests.lowering.cases import plan_of
from tests.lowering.tensorrt.graphs import F16, F32, graph, node, opset_17, simulated, typed_graph, weights
from tests.support import heads as made
from tests.support.models import VIT, exported
from tests.support.onnx_graphs import makers, nodes

DEEP = replace(VIT, depth=4)
LAYERS = (0, 1, 2, 3)
I32, I64 = TensorProto.INT32, TensorProto.INT64


def strange_onnx(path: Path) -> Path:
    """What opset 18 says in other words than 17, and what fp16 would spoil; some of its names are those that a typed graph
    gives."""
    nodes = [
        node("Transpose", "patches", "x", perm=[0, 3, 1, 2]),
        node("Split", "x", "x.fp16 x.fp32 x.exact", axis=1, num_outputs=3),
        node("Pad", "x.fp16 pads nothing height", "padded"),
        node("ConvTranspose", "padded spread", "x.half", strides=[2, 2]),
        node("Relu", "x.half", "x.kept"),
        node("Resize", "x.kept none twice", "large", mode="linear", axes=[2, 3], coordinate_transformation_mode="align_corners"),
        node("ReduceMax", "large ends", "largest", keepdims=0),
        node("ReduceL2", "large ends", "size", keepdims=0),
        node("Add", "size eps", "safe"),
        node("Div", "largest safe", "share"),
        node("Gemm", "share matrix", "scores", transB=1, alpha=0.5),
        node("TopK", "scores k", "best which", axis=1),
        node("Cast", "which", "number", to=I32),
        node("Clip", "best low high", "clipped"),
    ]
    random = np.random.default_rng(0)
    constants: dict[str, Any] = {
        "pads": np.array([1, 0], np.int64),
        "nothing": np.array(0.25, np.float32),
        "height": np.array([2], np.int64),
        "spread": random.normal(0, 0.3, (22, 6, 2, 2)).astype(np.float32),
        "none": np.array([], np.float32),
        "twice": np.array([2, 2], np.float32),
        "ends": np.array([2, 3], np.int64),
        "eps": np.array(1e-8, np.float32),
        "matrix": random.normal(0, 1, (5, 6)).astype(np.float32),
        "k": np.array([2], np.int64),
        "low": np.array(-1e30, np.float32),
        "high": np.array(50, np.float32),
    }
    outputs = [helper.make_tensor_value_info("number", I32, [1, 2]), helper.make_tensor_value_info("clipped", F32, [1, 2])]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "strange",
            [helper.make_tensor_value_info("patches", F32, ["n", "h", "w", 64])],
            outputs,
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    onnx.save(model, path)
    return path


def every(folder: Path) -> tuple[Head, ...]:
    return (
        made.linear(folder, 64),
        made.segmentation(folder, 64),
        made.segmentation(folder, 64, name="parts", output="logits"),
        made.mlp(folder, 64),
        made.depth(folder, (64,) * 4, LAYERS),
        read_head("strange", strange_onnx(folder / "strange.onnx")),
    )


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    hub = exported(DEEP, layers=LAYERS).graph
    return serialised(attach(hub, every(tmp_path_factory.mktemp("heads"))))


@pytest.fixture
def merged(content: bytes) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(content)


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    return {value.name: value.type.tensor_type.elem_type for value in values}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_typed_graph_is_onnx_and_tensorrt_takes_it(merged: onnx.ModelProto, precision: str) -> None:
    backbone = exported(DEEP, layers=LAYERS)
    plan = plan_of(TensorRt(), "int8", backbone, rest="fp16") if precision == "int8" else uniform(precision)  # type: ignore[arg-type]
    model, _ = typed_graph(ir.from_proto(merged), plan)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    said = {value.name: value for value in model.graph.value_info}
    for value in inferred.graph.value_info:
        assert said[value.name].type == value.type, value.name
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    outputs = {value.name: value.type.tensor_type.elem_type for value in model.graph.output}
    assert {name for name, kind in outputs.items() if kind == I32} == {"floor"}
    assert set(outputs.values()) == {F32, I32}
    names = [each.name for each in model.graph.node]
    assert len(set(names)) == len(names)
    versions = ["10.3", "10.13", "11.1"] + (["8.6"] if precision != "int8" else [])
    assert [finding.rule.id for finding in check_graph(model, versions)] == []


@pytest.mark.parametrize(("precision", "least"), [("fp32", 1 - 1e-9), ("fp16", 0.9995)])
def test_it_computes_what_the_hub_graph_does(merged: onnx.ModelProto, precision: str, least: float) -> None:
    frames = exported(DEEP, layers=LAYERS).frames
    typed, _ = typed_graph(ir.from_proto(merged), uniform(precision))  # type: ignore[arg-type]
    expected, actual = (features_of(open_session(each, optimise=False), frames) for each in (merged, simulated(typed)))
    assert list(actual) == list(expected)
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype
        if value.dtype == np.int32:
            assert np.mean(actual[name] == value) > 0.99, name
        else:
            assert cosines(value.ravel(), actual[name].ravel()) >= least, name


def test_heads_change_nothing_in_the_backbone(merged: onnx.ModelProto) -> None:
    alone, _ = typed_graph(exported(DEEP, layers=LAYERS).graph, uniform("fp16"))
    with_heads, _ = typed_graph(ir.from_proto(merged), uniform("fp16"))
    ours, theirs = kinds(with_heads), kinds(alone)
    shared = {name for each in alone.graph.node for name in each.output} & set(ours)
    assert len(shared) > 150
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


def test_products_of_heads_are_fp16_and_what_is_behind_the_last_is_float32(merged: onnx.ModelProto) -> None:
    model, kept = typed_graph(ir.from_proto(merged), uniform("fp16"))
    actual, by_name = kinds(model), {each.name: each for each in model.graph.node}
    products = [each for each in model.graph.node if each.name.startswith(HEADS) and each.op_type in PRODUCTS]
    assert len(products) > 30
    assert {actual[each.output[0]] for each in products} == {F16}
    for name in ("heads.floor.upsample", "heads.parts.upsample", "heads.depth.bins.div"):
        made_by = by_name[name] if name in by_name else makers(model)[name]
        assert actual[made_by.output[0]] == F32, name
    # Sums of two maps inside a depth head are no residual stream.
    assert actual["heads.depth.fusion_blocks.1.add"] == F16
    assert actual[nodes(model, "Less")[0].input[0]] == F32
    assert {name: reason.split()[0] for name, reason in kept.items()} == {
        "heads.strange.add8": "heads.strange.eps",
        "heads.strange.clip13": "heads.strange.low",
    }
    for resize in nodes(model, "Resize"):
        assert not any(name.endswith((".fp16", ".fp16_")) for name in resize.input[1:])


def test_scales_are_float32_beside_a_map_in_fp16(merged: onnx.ModelProto) -> None:
    model, _ = typed_graph(ir.from_proto(merged), uniform("fp16"))
    actual = kinds(model) | {entry.name: entry.data_type for entry in model.graph.initializer}
    halves = [each for each in nodes(model, "Resize") if actual[each.output[0]] == F16]
    assert halves, "the depth head's own upsampling is between convolutions"
    (scaled,) = (each for each in nodes(model, "Resize") if len(each.input) == 3)
    assert actual[scaled.input[2]] == F32
    assert not scaled.input[1] or actual[scaled.input[1]] == F32


def test_a_head_s_work_is_counted(merged: onnx.ModelProto) -> None:
    backbone = exported(DEEP, layers=LAYERS).graph
    work, actual = (
        count_work(typed_model(ir.from_proto(merged), uniform("fp32"), rewrites=())[0]),
        operations(ir.from_proto(merged)),
    )
    assert sum(work.macs.values()) == sum(operation.macs for operation in actual)
    assert sum(operation.macs for operation in actual if operation.kind != "head") == sum(
        operation.macs for operation in operations(backbone)
    )
    by_hand = {"heads.kind.scores": 128 * 3, "heads.floor.classes": 24 * 64 * 3, "heads.strange.gemm10": 6 * 5}
    by_hand["heads.strange.convtranspose3"] = 22 * (5 * 6) * 6 * 4
    assert {operation.name: operation.macs for operation in actual if operation.name in by_hand} == by_hand


def test_a_head_that_would_overflow_is_float32(merged: onnx.ModelProto) -> None:
    """As calibration sees it: the products that make and read what is too large."""
    changed = with_headroom(
        ir.from_proto(merged), uniform("fp16"), {"heads.depth.bins.add": 1e5, "heads.grasp.layers.1.mul_2": 2e4}
    )
    assert set(changed.operations) == {
        *("heads.depth.conv_depth.head.4", "heads.depth.bins.weighed", "heads.depth.bins.whole"),
        *("heads.grasp.layers.0", "heads.grasp.layers.2"),
    }
    actual = kinds(typed_graph(ir.from_proto(merged), changed)[0])
    assert actual["heads.depth.bins.add"] == actual["heads.grasp.layers.1.mul_2"] == F32


# --- opset 17


def single(made_node: onnx.NodeProto, constants: dict[str, Any], *, shape: tuple[int, ...] = (1, 5, 7)) -> onnx.ModelProto:
    outputs = [(name, F32, None) for name in made_node.output]
    return onnx.shape_inference.infer_shapes(graph([made_node], [("x", F32, shape)], outputs, constants, opset=18))


CHANGED: dict[str, tuple[onnx.NodeProto, dict[str, Any], tuple[int, ...]]] = {
    "uneven split": (node("Split", "x", "a b c", axis=2, num_outputs=3), {}, (1, 5, 7)),
    "even split": (node("Split", "x", "a b", axis=1, num_outputs=2), {}, (1, 4, 7)),
    "told split": (node("Split", "x sizes", "a b", axis=1), {"sizes": np.array([1, 4])}, (1, 5, 7)),
    "pad of axes": (
        node("Pad", "x pads value axes", "y"),
        {"pads": np.array([1, 2]), "value": np.float32(3), "axes": np.array([-1])},
        (1, 5, 7),
    ),
    "pad": (node("Pad", "x pads", "y", mode="reflect"), {"pads": np.array([0, 1, 2, 0, 0, 1])}, (1, 5, 7)),
    "sizes of axes": (
        node("Resize", "x none none sizes", "y", mode="linear", axes=[3, 2]),
        {"none": np.zeros(0, np.float32), "sizes": np.array([9, 4])},
        (1, 2, 3, 5),
    ),
    "scales of axes": (
        node("Resize", "x none scales", "y", mode="nearest", axes=[2]),
        {"none": np.zeros(0, np.float32), "scales": np.array([2], np.float32)},
        (1, 2, 3, 5),
    ),
    "reduction": (node("ReduceLogSumExp", "x axes", "y", keepdims=0), {"axes": np.array([-1, 1])}, (1, 5, 7)),
    "of all": (node("ReduceMin", "x", "y"), {}, (1, 5, 7)),
    "scattered": (
        node("ScatterElements", "x where what", "y", axis=2, reduction="add"),
        {"where": np.array([[[3]]]), "what": np.ones((1, 1, 1), np.float32)},
        (1, 5, 7),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGED)
def test_what_opset_17_writes_differently(name: str) -> None:
    made_node, constants, shape = CHANGED[name]
    model = single(made_node, constants, shape=shape)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    lowered = opset_17(model)
    onnx.checker.check_model(lowered, full_check=True)
    assert lowered.opset_import[0].version == 17
    expected, actual = (open_session(each).run(None, {"x": x}) for each in (model, lowered))
    for one, other in zip(expected, actual, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("made_node", "constants", "words"),
    [
        (node("Resize", "x none none sizes", "y", mode="linear", antialias=1), {"sizes": np.array([1, 2, 3])}, "antialiasing"),
        (
            node("Resize", "x none none sizes", "y", keep_aspect_ratio_policy="not_larger"),
            {"sizes": np.array([1, 2, 3])},
            "other than stretching",
        ),
        (
            node("ScatterElements", "x where what", "y", reduction="max"),
            {"where": np.array([[[0]]]), "what": np.ones((1, 1, 1), np.float32)},
            "by maximum or minimum",
        ),
        (node("ReduceMax", "x", "y", noop_with_empty_axes=1), {}, "reduces nothing"),
        (node("BitwiseNot", "x", "y"), {}, "absent there"),
    ],
    ids="antialias policy scatter nothing bitwise".split(),  # noqa: SIM905
)
def test_what_opset_17_cannot_express_is_refused_by_name(
    made_node: onnx.NodeProto, constants: dict[str, Any], words: str
) -> None:
    model = single(made_node, {"none": np.zeros(0, np.float32), **constants})
    with pytest.raises(UnsupportedOperation, match="opset 17") as caught:
        opset_17(model)
    assert words in str(caught.value)
    assert made_node.op_type in str(caught.value)


def test_mish_is_written_out() -> None:
    """TensorRT reads it from 10.0 on, opset 17 has not got it."""
    model = single(
        node(
            "Mish",
            "x",
            "y",
        ),
        {},
    )
    x = np.random.default_rng(0).normal(0, 3, (1, 5, 7)).astype(np.float32)
    lowered = opset_17(model)
    onnx.checker.check_model(lowered, full_check=True)
    assert not check_graph(lowered, ["8.6", "10.3"])
    expected = torch.nn.functional.mish(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(open_session(lowered).run(None, {"x": x})[0], expected, atol=1e-6)


def test_numbers_are_cut_off_and_not_passed_on() -> None:
    """A cast of floats to whole numbers and back takes the fraction away, in the imitation too."""
    model = graph([node("Cast", "x", "whole", to=I64), node("Cast", "whole", "y", to=F32)], [("x", F32, [4])], [("y", F32, [4])])
    model.graph.value_info.append(helper.make_tensor_value_info("whole", I64, [4]))
    typed, _ = typed_graph(ir.from_proto(model), uniform("fp32"))
    actual = open_session(simulated(typed), optimise=False).run(None, {"x": np.array([-1.7, -0.2, 0.9, 2.5], np.float32)})[0]
    np.testing.assert_array_equal(actual, [-1, 0, 0, 2])


def test_axes_that_are_computed_are_refused() -> None:
    model = graph([node("ReduceMax", "x axes", "y")], [("x", F32, [1, 5]), ("axes", I64, [1])], [("y", F32, None)], opset=18)
    with pytest.raises(UnsupportedOperation, match="opset 17") as caught:
        opset_17(model)
    assert "axes is computed" in str(caught.value)


def test_constants_in_fp16_are_read_in_float32() -> None:
    """A head whose own arithmetic was half: where the typed graph is not, its constants are not either."""
    model = graph(
        [node("Cast", "x", "h", to=F16), node("Add", "h c", "s"), node("Cast", "s", "y", to=F32)],
        [("x", F32, [4])],
        [("y", F32, [4])],
        {"c": weights(4, kind=np.float16)},
    )
    model.graph.value_info.extend(helper.make_tensor_value_info(name, F16, [4]) for name in ("h", "s"))
    typed, _ = typed_graph(ir.from_proto(model), uniform("fp32"))
    onnx.checker.check_model(typed, full_check=True)
    onnx.shape_inference.infer_shapes(typed, check_type=True, strict_mode=True)
    x = weights(4, seed=1)
    np.testing.assert_allclose(
        open_session(simulated(typed), optimise=False).run(None, {"x": x})[0], x + weights(4, kind=np.float16), rtol=2e-3
    )
