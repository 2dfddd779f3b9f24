"""The forms of heads that NVIDIA's compiler needs fewest kernels for compute what the hub graph computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from edgec.graph.files import save, serialised
from edgec.graph.passes.base import Rewrite, rewritten
from edgec.graph.session import features_of, open_session
from edgec.heads.attach import attach
from edgec.lowering.tensorrt.bins import SumBins
from edgec.lowering.tensorrt.compiler import machines
from edgec.lowering.tensorrt.compiler.compiling import compile_graph
from edgec.lowering.tensorrt.labels import ChooseByComparing
from edgec.lowering.tensorrt.norms import NormSideBySide
from edgec.lowering.tensorrt.opset import ToOpset17
from edgec.lowering.tensorrt.pointwise import ConvolveBeforeUpsampling
from edgec.lowering.tensorrt.selection import SelectBeforeNorm
from edgec.lowering.tensorrt.view import View
from edgec.lowering.tensorrt.writing import REWRITES, typed_model
from edgec.precision.static import uniform
from tests.lowering.tensorrt.graphs import F32, graph, node, weights
from tests.support import heads as made
from tests.support.models import VIT, exported

DEEP = replace(VIT, depth=4)
LAYERS = (0, 1, 2, 3)
I32, I64 = TensorProto.INT32, TensorProto.INT64
OF_HEADS = ("norms side by side", "convolutions before upsampling", "summed bins", "labels by comparison")


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two segmentations, of one layer and of four, and a depth head."""
    folder = tmp_path_factory.mktemp("heads")
    heads = (
        made.segmentation(folder, 64),
        made.segmentation(folder, 256, name="parts", layers=LAYERS),
        made.depth(folder, (64,) * 4, LAYERS, bins_count=8),
    )
    return serialised(attach(exported(DEEP, layers=LAYERS).graph, heads))


@pytest.fixture
def merged(content: bytes) -> ir.Model:
    model: ir.Model = ir.from_proto(onnx.ModelProto.FromString(content))
    return model


def kinds(model: ir.Model) -> list[str]:
    return [each.op_type for each in model.graph]


def outputs(model: ir.Model) -> dict[str, NDArray[Any]]:
    return features_of(open_session(model, optimise=False), exported(DEEP, layers=LAYERS).frames)


def alone(
    nodes: list[onnx.NodeProto],
    reads: tuple[int, ...],
    gives: tuple[int, ...],
    constants: dict[str, Any] | None = None,
    *,
    kind: int = F32,
    opset: int = 18,
) -> ir.Model:
    """A graph from `x` to `y`, with all its shapes."""
    model = graph(nodes, [("x", F32, reads)], [("y", kind, gives)], constants, opset=opset)
    return ir.from_proto(onnx.shape_inference.infer_shapes(model, data_prop=True))


def run(model: ir.Model, x: NDArray[Any]) -> NDArray[Any]:
    (y,) = open_session(model, optimise=False).run(None, {"x": x})
    return np.asarray(y)


# --- labels


@pytest.mark.parametrize("older", [True, False], ids=["opset-17", "opset-18"])
def test_labels_are_the_same(merged: ir.Model, older: bool) -> None:
    base = rewritten(merged, ToOpset17()) if older else merged
    compared = rewritten(base, ChooseByComparing())
    assert kinds(base).count("ArgMax") == 2
    assert "ArgMax" not in kinds(compared)
    assert not View(ir.to_proto(compared)).invalid
    expected, actual = outputs(merged), outputs(compared)
    for name in ("floor", "parts"):
        assert len(np.unique(expected[name])) > 1
        np.testing.assert_array_equal(actual[name], expected[name])


def choice(cast: int = I32, **said: Any) -> ir.Model:
    resize = {"mode": said.pop("mode", "linear"), "coordinate_transformation_mode": "half_pixel"}
    nodes = [node("Resize", "x none scales", "large", **resize), node("ArgMax", "large", "best", **said)]
    shape = (2, 1, 8, 8) if said.get("keepdims", 1) else (2, 8, 8)
    shape = shape if said["axis"] in (1, -3) else (2, 4, 8, 1)
    constants = {"none": np.zeros(0, np.float32), "scales": np.array([1, 1, 2, 2], np.float32)}
    return alone([*nodes, node("Cast", "best", "y", to=cast)], (2, 4, 4, 4), shape, constants, kind=cast)


@pytest.mark.parametrize("said", [{"axis": 1, "keepdims": 0}, {"axis": -3, "keepdims": 1}])
def test_of_equal_scores_the_first_class_wins(said: dict[str, int]) -> None:
    x = np.random.default_rng(0).integers(0, 2, (2, 4, 4, 4)).astype(np.float32)
    model = choice(**said)
    compared = rewritten(model, ChooseByComparing())
    assert "ArgMax" not in kinds(compared)
    assert set(np.unique(run(model, x))) == {0, 1, 2, 3}
    np.testing.assert_array_equal(run(compared, x), run(model, x))


def test_scores_that_are_no_numbers_give_a_class() -> None:
    x = np.full((2, 4, 4, 4), np.nan, np.float32)
    assert set(np.unique(run(rewritten(choice(axis=1, keepdims=0), ChooseByComparing()), x))) == {0}


@pytest.mark.parametrize(
    "model",
    [
        choice(axis=1, keepdims=0, select_last_index=1),
        choice(axis=3),
        choice(axis=1, keepdims=0, mode="nearest"),
        choice(axis=1, keepdims=0, cast=I64),
    ],
    ids=["the last of equals", "another axis", "no interpolation", "another type"],
)
def test_another_choice_is_left_alone(model: ir.Model) -> None:
    assert kinds(rewritten(model, ChooseByComparing())) == kinds(model)


# --- convolutions before upsampling


def test_upsampling_goes_behind_the_convolution_that_reads_it(merged: ir.Model) -> None:
    swapped = rewritten(merged, ConvolveBeforeUpsampling())
    moved = {each.name for each in swapped.graph if each.op_type == "Resize" and each.predecessors()[0].op_type == "Conv"}
    assert {f"heads.depth.fusion_blocks.{index}.upsample" for index in range(4)} <= moved
    expected, actual = outputs(merged), outputs(swapped)
    np.testing.assert_allclose(actual["depth"], expected["depth"], rtol=2e-5)
    assert not View(ir.to_proto(swapped)).invalid


def upsampled(out: int = 3, *, kernel: int = 1, reader: str = "y", scale: float = 2.0, **resize: Any) -> ir.Model:
    by = resize.pop("by", "scales")
    nodes = [
        node("Resize", f"x none {by}", "large", **{"mode": "linear", **resize}),
        node("Conv", "large w b", reader, kernel_shape=[kernel, kernel], pads=[kernel // 2] * 4),
    ]
    nodes += [node("Add", "small large", "y")] if reader == "small" else []
    side = int(4 * scale)
    constants = {
        "none": np.zeros(0, np.float32),
        "scales": np.array([1, 1, scale, scale], np.float32),
        "sizes": np.array([1, 3, side, side], np.int64),
        "w": weights(out, 3, kernel, kernel, scale=1),
        "b": weights(out, seed=1, scale=1),
    }
    read = {name for each in nodes for name in each.input}
    return alone(nodes, (1, 3, 4, 4), (1, out, side, side), {name: constants[name] for name in constants if name in read})


@pytest.mark.parametrize("mode", ["half_pixel", "align_corners", "asymmetric"])
@pytest.mark.parametrize(("out", "by"), [(3, "scales"), (1, "scales"), (1, "none sizes")])
def test_a_1x1_convolution_commutes_with_interpolation(out: int, by: str, mode: str) -> None:
    model = upsampled(out, by=by, coordinate_transformation_mode=mode)
    swapped = rewritten(model, ConvolveBeforeUpsampling())
    assert kinds(swapped) == ["Conv", "Resize"]
    x = weights(1, 3, 4, 4, scale=1)
    np.testing.assert_allclose(run(swapped, x), run(model, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        upsampled(4),
        upsampled(kernel=3),
        upsampled(reader="small"),
        upsampled(scale=0.5),
        upsampled(mode="cubic"),
    ],
    ids=["it widens", "it looks at neighbours", "another reader", "it shrinks", "weights below zero"],
)
def test_another_convolution_stays_behind(model: ir.Model) -> None:
    assert kinds(rewritten(model, ConvolveBeforeUpsampling())) == kinds(model)


# --- bins


def test_bins_are_summed(merged: ir.Model) -> None:
    summed = rewritten(merged, SumBins())
    assert kinds(summed).count("Conv") == kinds(merged).count("Conv") - 2
    assert kinds(summed).count("ReduceSum") == 2
    assert kinds(summed).count("Mul") == kinds(merged).count("Mul") + 1, "the sum of the weights needs no factors"
    np.testing.assert_allclose(outputs(summed)["depth"], outputs(merged)["depth"], rtol=2e-6)
    typed, _ = typed_model(merged, uniform("fp16"))
    sums = [each for each in typed.graph if each.op_type == "ReduceSum"]
    assert {each.outputs[0].dtype for each in sums} == {ir.DataType.FLOAT}


@pytest.mark.parametrize(
    "changed", [{"b": np.ones(1, np.float32)}, {"w": weights(1, 4, 3, 3)}, {"w": weights(2, 4, 1, 1)}], ids=["bias", "3x3", "two"]
)
def test_another_quotient_is_left_alone(changed: dict[str, Any]) -> None:
    constants = {"w": weights(1, 4, 1, 1), "b": np.zeros(1, np.float32), "ones": np.ones((1, 4, 1, 1), np.float32)} | changed
    side = constants["w"].shape[-1]
    constants["b"] = np.resize(constants["b"], len(constants["w"]))
    nodes = [
        node("Conv", "x w b", "top", kernel_shape=[side, side], pads=[side // 2] * 4),
        node("Conv", "x ones", "bottom", kernel_shape=[1, 1]),
        node("Div", "top bottom", "y"),
    ]
    model = alone(nodes, (1, 4, 5, 5), (1, len(constants["w"]), 5, 5), constants)
    assert kinds(rewritten(model, SumBins())) == kinds(model)


# --- norms


def test_norms_of_several_layers_are_fed_side_by_side(merged: ir.Model) -> None:
    apart = rewritten(merged, SelectBeforeNorm())
    together = rewritten(apart, NormSideBySide())
    joined = [each for each in together.graph if str(each.name).endswith(".norm.layers")]
    assert [len(each.inputs) for each in joined] == [len(LAYERS)]
    assert kinds(together).count("LayerNormalization") == kinds(apart).count("LayerNormalization")
    for name, value in outputs(merged).items():
        np.testing.assert_array_equal(outputs(together)[name], value)


def test_norms_that_follow_each_other_stay_apart() -> None:
    """All blocks' norms may have the same weights, and are still computed one from another."""
    norm = {"axis": -1}
    nodes = [node("LayerNormalization", "x w b", "first", **norm), node("LayerNormalization", "first w b", "y", **norm)]
    model = alone(nodes, (1, 5, 8), (1, 5, 8), {"w": weights(8), "b": weights(8, seed=1)})
    assert kinds(rewritten(model, NormSideBySide())) == kinds(model)


# --- all of them


@pytest.mark.parametrize("make", [ChooseByComparing, ConvolveBeforeUpsampling, SumBins, NormSideBySide])
def test_a_graph_without_heads_stays_as_it_is(make: type[Rewrite]) -> None:
    model = exported(VIT).graph
    assert not make()(model).modified


@pytest.mark.skipif(not machines.availability().available, reason="NVIDIA's compiler is not installed")
def test_the_compiler_needs_fewer_kernels_and_bytes(merged: ir.Model, tmp_path: Path) -> None:
    summaries = []
    for rewrites in ([name for name in REWRITES if name not in OF_HEADS], REWRITES):
        save(typed_model(merged, uniform("fp16"), rewrites=rewrites)[0], tmp_path / "graph.onnx")
        summaries.append(compile_graph(tmp_path / "graph.onnx", "86").summary)
    before, after = summaries
    assert before.accepted
    assert after.accepted, after.refusal
    assert after.kernels <= before.kernels - 8
    assert after.moved_bytes < before.moved_bytes
