"""ONNX heads in Core ML packages: what is usual in them is translated, anything else refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgec.errors import UnsupportedOperation
from edgec.graph.session import features_of, open_session
from edgec.heads import Head, read_head
from edgec.heads.attach import attach
from edgec.lowering.coreml import CoreMl
from edgec.lowering.coreml.evaluator import load
from edgec.lowering.coreml.evaluator.compare import first_difference
from edgec.model.spec import Size
from edgec.precision.static import uniform
from tests.lowering.coreml.packages import lower
from tests.support.models import VIT, exported

pytest.importorskip("coremltools")

SIZE = Size(96, 160)
BOTH = (0, 1)


def onnx_head(folder: Path, nodes: Sequence[onnx.NodeProto], outputs: Sequence[str], **constants: NDArray[Any]) -> Head:
    """Of a VIT's features, which it reads as `planes` [1, 64, 6, 10] and `cls` [1, 64]."""
    turned = helper.make_node("Transpose", ["patches"], ["planes"], perm=[0, 3, 1, 2])
    inputs = [
        helper.make_tensor_value_info("cls", TensorProto.FLOAT, [1, 64]),
        helper.make_tensor_value_info("patches", TensorProto.FLOAT, [1, 6, 10, 64]),
    ]
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    for result in results:
        result.type.tensor_type.elem_type = TensorProto.INT64 if result.name.startswith("whole") else TensorProto.FLOAT
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph([turned, *nodes], "head", inputs, results, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), folder / "head.onnx")
    return read_head("own", folder / "head.onnx")


def drawn(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).normal(0, 1 / np.sqrt(shape[-1]), shape).astype(np.float32)


USUAL: dict[str, tuple[str, list[str], dict[str, Any]]] = {
    "gemm": ("Gemm", ["cls", "square", "row"], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    "gemm_turned": ("Gemm", ["cls", "square"], {}),
    "product": ("MatMul", ["patches", "square"], {}),
    "pooled": ("GlobalAveragePool", ["planes"], {}),
    "flat": ("Flatten", ["planes"], {"axis": 1}),
    "normed": ("BatchNormalization", ["planes", "line", "line", "line", "positive"], {"epsilon": 1e-3}),
    "clipped": ("Clip", ["planes", "low", "high"], {}),
    "clipped_below": ("Clip", ["planes", "low"], {}),
    "leaky": ("LeakyRelu", ["planes"], {"alpha": 0.2}),
    "tanh": ("Tanh", ["planes"], {}),
    "power": ("Pow", ["planes", "two"], {}),
    "largest": ("ReduceMax", ["planes", "axes"], {"keepdims": 0}),
    "length": ("ReduceL2", ["patches", "last"], {}),
    "sum": ("ReduceSum", ["planes"], {"keepdims": 1}),
    "bounded": ("Max", ["planes", "low"], {}),
    "max_pool": ("MaxPool", ["planes"], {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}),
    "mean_pool": ("AveragePool", ["planes"], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 0}),
    "wider": ("Resize", ["planes", "", "", "sizes"], {"mode": "linear"}),
    "doubled": ("Resize", ["planes", "", "twice"], {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
    "nearest": (
        "Resize",
        ["planes", "", "twice"],
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
    "spread": ("ConvTranspose", ["planes", "kernels"], {"strides": [2, 2], "pads": [1, 0, 0, 1], "group": 2}),
    "picked": ("Gather", ["patches", "places"], {"axis": -1}),
    "first": ("Gather", ["patches", "zero"], {"axis": 1}),
    "longer": ("Unsqueeze", ["cls", "axes"], {}),
    "shorter": ("Squeeze", ["pooled", "axes"], {}),
    "turned": ("Transpose", ["over"], {}),
    "rounded": ("Cast", ["planes"], {"to": TensorProto.FLOAT16}),
    "whole_best": ("ArgMax", ["planes"], {"axis": 1}),
    "whole_cut": ("Cast", ["clipped"], {"to": TensorProto.INT64}),
    "shares": ("Softmax", ["patches"], {}),
    "softly": ("Softmax", ["patches"], {"axis": 1}),
    "spaced": ("DepthToSpace", ["planes"], {"blocksize": 2}),
    "shuffled": ("DepthToSpace", ["planes"], {"blocksize": 2, "mode": "CRD"}),
    "deeper": ("SpaceToDepth", ["planes"], {"blocksize": 2}),
    "lowest": ("ReduceSumSquare", ["planes", "axes"], {"keepdims": 0}),
    "whole_least": ("ArgMin", ["planes"], {"axis": 1}),
    "running": ("CumSum", ["planes", "one"], {"exclusive": 1, "reverse": 1}),
    "inverse": ("Reciprocal", ["positive_cls"], {}),
    "framed": ("Pad", ["planes", "around", "low"], {}),
}
CONSTANTS: dict[str, NDArray[Any]] = {
    "square": drawn(64, 64), "row": drawn(1, 64), "line": drawn(64), "positive": np.abs(drawn(64)) + np.float32(0.1),
    "low": np.float32(-0.5) * np.ones((), np.float32), "high": np.ones((), np.float32), "two": 2 * np.ones((), np.float32),
    "axes": np.array([2, 3]), "last": np.array([-1]), "sizes": np.array([1, 64, 9, 17]),
    "twice": np.array([1, 1, 2, 2], np.float32), "kernels": drawn(64, 3, 4, 2), "places": np.array([5, -1, 0]),
    "zero": np.array(0), "one": np.array(1), "around": np.array([0, 0, 1, 2, 0, 0, 0, 3]),
}  # fmt: skip


def test_what_onnx_heads_usually_bring_is_translated(tmp_path: Path) -> None:
    nodes = [helper.make_node(kind, reads, [name], **said) for name, (kind, reads, said) in USUAL.items()]
    nodes.insert(0, helper.make_node("Transpose", ["patches"], ["over"]))
    nodes[1 + list(USUAL).index("rounded")].output[0] = "half"
    nodes.append(helper.make_node("Cast", ["half"], ["rounded"], to=TensorProto.FLOAT))
    nodes.insert(0, helper.make_node("Max", ["cls", "high"], ["positive_cls"]))
    source = exported(VIT, SIZE, layers=BOTH)
    hub = attach(source.graph, [onnx_head(tmp_path, nodes, list(USUAL), **CONSTANTS)])
    frames, expected = source.frames, features_of(open_session(hub), source.frames)
    for precision, tolerance in (("fp32", 2e-3), ("fp16", 0.03)):
        model = lower(hub, uniform(precision), tmp_path / precision)  # type: ignore[arg-type]
        assert first_difference(load((model.directory / model.entry).parent), hub, frames) is None
        actual = CoreMl().load(model)(frames)
        for name, wanted in expected.items():
            if "whole" in name:
                assert (actual[name] == wanted).mean() > 0.98, name
            else:
                assert actual[name].shape == wanted.shape, name
                assert np.linalg.norm(actual[name] - wanted) <= tolerance * np.linalg.norm(wanted), name


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (helper.make_node("Sinh", ["cls"], ["out"]), "no translation of Sinh"),
        (helper.make_node("Resize", ["planes", "", "odd"], ["out"], mode="linear"), "which give no whole pixels"),
        (helper.make_node("GridSample", ["planes", "grid"], ["out"], mode="nearest"), "GridSample with mode nearest"),
        (helper.make_node("GridSample", ["planes", "grid"], ["out"], padding_mode="reflection"), "padding reflection"),
        (helper.make_node("Pad", ["patches", "around"], ["out"], mode="reflect"), "more than the last two"),
        (helper.make_node("ConvTranspose", ["planes", "kernels"], ["out"], output_padding=[1, 0], strides=[2, 1]), "padding or"),
        (helper.make_node("MaxPool", ["planes"], ["out"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), "ceil_mode"),
        (helper.make_node("ReduceMax", ["planes"], ["out"], noop_with_empty_axes=1), "noop_with_empty_axes"),
        (helper.make_node("ArgMax", ["planes"], ["whole"], select_last_index=1), "select_last_index"),
        (helper.make_node("Max", ["planes", "planes", "low"], ["out"]), "3 inputs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_anything_else_is_refused_by_name(node: onnx.NodeProto, words: str, tmp_path: Path) -> None:
    constants = {name: CONSTANTS[name] for name in ("twice", "kernels", "low", "sizes") if name in node.input}
    constants |= {"odd": np.array([1, 1, 1.3, 1.3], np.float32)} if "odd" in node.input else {}
    constants |= {"grid": np.clip(drawn(1, 3, 4, 2), -1, 1)} if "grid" in node.input else {}
    constants |= {"around": np.array([0, 1, 1, 1] * 2)} if "around" in node.input else {}
    head = onnx_head(tmp_path, [node], list(node.output), **constants)
    hub = attach(exported(VIT, SIZE, layers=BOTH).graph, [head])
    with pytest.raises(UnsupportedOperation) as caught:
        lower(hub, uniform("fp16"), tmp_path / "package")
    assert words in caught.value.what
    assert f"heads.own.{node.op_type.lower()}" in caught.value.evidence[0]
    assert "the head own" in caught.value.remedy


def test_arithmetic_on_labels_is_refused_by_name(tmp_path: Path) -> None:
    nodes = [helper.make_node("ArgMax", ["planes"], ["best"], axis=1), helper.make_node("Add", ["best", "one"], ["whole"])]
    head = onnx_head(tmp_path, nodes, ["whole"], one=np.array(1))
    hub = attach(exported(VIT, SIZE, layers=BOTH).graph, [head])
    with pytest.raises(UnsupportedOperation, match=r"Add with integers \(heads\.own\.best\)"):
        lower(hub, uniform("fp16"), tmp_path / "package")


def test_a_constant_that_fp16_does_not_hold_keeps_its_operation_in_float32(tmp_path: Path) -> None:
    """As the 1e-12 by which a division is kept from zero."""
    nodes = [
        helper.make_node("ReduceL2", ["cls", "last"], ["length"]),
        helper.make_node("Max", ["length", "least"], ["bounded"]),
        helper.make_node("Div", ["cls", "bounded"], ["unit"]),
    ]
    head = onnx_head(tmp_path, nodes, ["unit"], last=np.array([-1]), least=np.array(1e-12, np.float32))
    source = exported(VIT, SIZE, layers=BOTH)
    model = lower(attach(source.graph, [head]), uniform("fp16"), tmp_path / "package")
    assert model.settings["float32"].keys() == {"heads.own.max1"}
    assert np.linalg.norm(CoreMl().load(model)(source.frames)["own"]) == pytest.approx(1, abs=2e-3)
