"""The hub graph in opset 17, the newest that TensorRT 8.6 (JetPack 6.0) knows; later versions take it too.

What opset 18 changed is written in the older way where that is possible: the backbone needs two such changes, heads the others.
Source: onnx-tensorrt, docs/operators.md of release 8.6; ONNX, docs/Changelog.md, version 18.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import ceil
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgec.errors import UnsupportedOperation
from edgec.graph.passes.base import Rewrite, unread
from edgec.graph.values import add_constant, array_of, drop_unread, input_of, shape_of

OPSET = 17
IR_VERSION = 8
"""The file format of ONNX 1.13, which TensorRT 8.6 was made with."""

REDUCTIONS = (
    *("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
    *("ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"),
)
"""Those whose axes became an input. ReduceSum's had been one before."""


class ToOpset17(Rewrite):
    """Requires ONNX's own operators. Ensures that all operators and their attributes are those of opset 17, and that no constant
    is left unread. Raises `UnsupportedOperation` for an operator that opset 17 lacks, or that means something else there."""

    def missing(self, model: ir.Model) -> Iterable[str]:
        """The version of ONNX's operators, if the graph does not state it."""
        return () if "" in model.graph.opset_imports else ("it does not say which ONNX opset it uses",)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites the operators that opset 18 changed."""
        graph = model.graph
        opset = graph.opset_imports[""]
        refused: dict[str, str] = {}
        for node in list(graph):
            try:
                if node.op_type in _OLDER:
                    _OLDER[node.op_type](node)
                elif not _same(node.op_type, opset):
                    raise ValueError(f"absent there, or with another meaning than in opset {opset}")
            except ValueError as problem:
                refused.setdefault(node.op_type, str(problem))
        if refused:
            raise UnsupportedOperation(
                f"The graph cannot be written in ONNX opset {OPSET}, the newest that every board's TensorRT reads.",
                evidence=[f"{kind}: {refused[kind]}" for kind in sorted(refused)],
                remedy="export heads without these; if there is none, report this with the versions that `edgec doctor` prints",
            )
        drop_unread(graph)
        graph.opset_imports[""], model.ir_version = OPSET, IR_VERSION
        return ir.passes.PassResult(model, modified=True)

    def broken(self, model: ir.Model) -> Iterable[str]:
        """Attributes and inputs that opset 17 does not know, and unread constants."""
        for node in model.graph:
            schema = onnx.defs.get_schema(node.op_type, OPSET)
            for name in node.attributes.keys() - schema.attributes.keys():
                yield f"{node.name} has the attribute {name}, which {node.op_type} lacks in opset {OPSET}"
            if len(node.inputs) > schema.max_input:
                yield f"{node.name} reads {len(node.inputs)} tensors, and {node.op_type} {schema.max_input} in opset {OPSET}"
        yield from unread(model.graph)


def _constant(node: ir.Node, index: int) -> NDArray[Any] | None:
    """The value of an optional input, None if it is left out. Raises `ValueError` if it is computed."""
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is not None and not value.is_initializer():
        raise ValueError(f"{value.name} is computed as the model runs")
    return None if value is None else array_of(value)


def _shape(node: ir.Node) -> tuple[int, ...]:
    """The shape of the first input. Raises `ValueError` if it is not static."""
    shape = shape_of(input_of(node))
    if shape is None:
        raise ValueError(f"{input_of(node).name} has no static shape")
    return shape


def _read(node: ir.Node, index: int, name: str, value: NDArray[Any]) -> None:
    """Replace an input of the node by a new constant."""
    assert node.graph is not None
    node.resize_inputs(max(index + 1, len(node.inputs)))
    node.replace_input_with(index, add_constant(node.graph, f"{node.name}.{name}", value))


def _mish(node: ir.Node) -> None:
    """x · tanh(softplus(x)), by which ONNX defines it. Opset 18 brought the operator, TensorRT 10.0 its importer."""
    x, y = input_of(node), node.outputs[0]
    soft, bent = (ir.val(f"{y.name}.{part}", y.dtype, y.shape) for part in ("softplus", "tanh"))
    parts = [
        ir.node("Softplus", [x], outputs=[soft], name=f"{node.name}.softplus"),
        ir.node("Tanh", [soft], outputs=[bent], name=f"{node.name}.tanh"),
    ]
    node.prepend(parts)
    node.op_type = "Mul"
    node.resize_inputs(2)
    node.replace_input_with(1, bent)


def _reshape(node: ir.Node) -> None:
    """Opset 18's `allowzero` says what a zero in the new shape means; static shapes hold none."""
    node.attributes.pop("allowzero", None)


def _reduction(node: ir.Node) -> None:
    axes, nothing = _constant(node, 1), node.attributes.get_int("noop_with_empty_axes", 0)
    if nothing and (axes is None or axes.size == 0):
        raise ValueError("a reduction that reduces nothing")
    node.attributes.pop("noop_with_empty_axes", None)
    node.resize_inputs(1)
    if axes is not None and axes.size:
        node.attributes.add(ir.AttrInt64s("axes", [int(axis) for axis in axes]))


def _resize(node: ir.Node) -> None:
    """Antialiasing and policies for the aspect ratio are new in opset 18. So is the choice of axes; all are written out
    instead."""
    options = node.attributes
    if options.get_int("antialias", 0):
        raise ValueError("antialiasing, which TensorRT lacks")
    if options.get_string("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ValueError("a policy for the aspect ratio other than stretching, which is all that TensorRT knows")
    if options.get_string("coordinate_transformation_mode") == "half_pixel_symmetric":
        raise ValueError("coordinates by half_pixel_symmetric")
    axes = options.get_ints("axes")
    for name in ("antialias", "keep_aspect_ratio_policy", "axes"):
        options.pop(name, None)
    shape = _shape(node)
    if axes is None or [axis % len(shape) for axis in axes] == list(range(len(shape))):
        return
    for index, whole in ((2, np.ones(len(shape), np.float32)), (3, np.array(shape, np.int64))):
        written = _constant(node, index)
        if written is not None and written.size:
            whole[list(axes)] = written
            _read(node, index, f"all_axes{index}", whole)


def _split(node: ir.Node) -> None:
    """Opset 18 can split into a number of parts, of which the last may be smaller; the sizes are written out instead."""
    parts = node.attributes.get_int("num_outputs")
    node.attributes.pop("num_outputs", None)
    if parts is None or len(node.inputs) > 1:
        return
    side = _shape(node)[node.attributes.get_int("axis", 0)]
    size = ceil(side / parts)
    if side % parts:
        sizes = [size] * (parts - 1) + [side - size * (parts - 1)]
        _read(node, 1, "sizes", np.array(sizes, np.int64))


def _pad(node: ir.Node) -> None:
    """Opset 18 can name the axes to pad; all are written out instead."""
    axes = _constant(node, 3)
    node.resize_inputs(min(3, len(node.inputs)))
    if axes is not None:
        shape, written = _shape(node), _constant(node, 1)
        if written is None:
            raise ValueError("no padding")
        pads = np.zeros((2, len(shape)), np.int64)
        pads[:, list(axes)] = written.reshape(2, -1)
        _read(node, 1, "all_axes", pads.reshape(-1))


def _scatter(node: ir.Node) -> None:
    """Reductions by maximum and minimum are new in opset 18."""
    if node.attributes.get_string("reduction", "none") not in ("none", "add", "mul"):
        raise ValueError("a reduction by maximum or minimum")


_OLDER: Mapping[str, Callable[[ir.Node], None]] = {
    "Mish": _mish,
    "Reshape": _reshape,
    "Resize": _resize,
    "Split": _split,
    "Pad": _pad,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
    **dict.fromkeys(REDUCTIONS, _reduction),
}


def opset_differences(model: ir.Model, opset: int) -> Iterable[str]:
    """The model's operators that mean something else in this opset, as people read it."""
    own = model.graph.opset_imports[""]
    kinds = sorted({node.op_type for node in model.graph} - _ONLY_WIDENED)
    return (f"{kind} differs between opset {own} and opset {opset}" for kind in kinds if not _same(kind, own, opset))


_ONLY_WIDENED = frozenset(
    (
        *("Cast", "CastLike", "Constant", "DequantizeLinear", "Equal", "Identity", "If", "Loop", "QuantizeLinear", "Reshape"),
        *("Scan", "Shape", "Size", "AveragePool", "Pad", "Resize"),
    )
)
"""What opset 19 changed of these: they take more types, or have a new attribute or mode, without which they mean what they meant.
Source: ONNX, docs/Changelog.md, version 19."""


def _same(kind: str, opset: int, other: int = OPSET) -> bool:
    try:
        return bool(onnx.defs.get_schema(kind, other).since_version == onnx.defs.get_schema(kind, opset).since_version)
    except onnx.defs.SchemaError:
        return False
