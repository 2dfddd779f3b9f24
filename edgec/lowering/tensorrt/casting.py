"""The strongly typed graph: every node's type from `typed`, expressed by Casts and by constants of that type."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from edgec.graph.passes.base import Rewrite, unread
from edgec.graph.values import add_constant, array_of, drop_unread, name_of, shape_of
from edgec.lowering.halves import to_half
from edgec.lowering.tensorrt.names import FreeNames
from edgec.lowering.tensorrt.typed import OF_FLOAT32, Types

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)


class CastToTypes(Rewrite):
    """Every node reads floats of its own type: constants are converted, all other tensors pass a Cast, one for each tensor and
    type. The model's floating-point outputs become float32.

    Requires the type and the static shape of every tensor. Ensures that no node reads floats of two types, and that no constant
    is left unread. Raises `ExportError` if a constant does not fit fp16.
    """

    def __init__(self, types: Types) -> None:
        super().__init__()
        self._types = types

    def missing(self, model: ir.Model) -> Iterable[str]:
        """Tensors whose type or shape is not known."""
        for node in model.graph:
            for value in node.outputs:
                if value.name and (value.dtype is None or shape_of(value) is None):
                    yield f"type or shape of {value.name} is not known"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Converts what each node reads, and casts outputs that are fp16."""
        free, casts = FreeNames(model.graph), dict[tuple[ir.Value, ir.DataType], ir.Value]()
        for node in list(model.graph):
            computes_in = self._computes_in(node)
            for index, value in enumerate(node.inputs) if node.op_type != "Cast" else ():
                kind = ir.DataType.FLOAT if index in OF_FLOAT32.get(node.op_type, ()) else computes_in
                if value is not None and value.dtype in FLOATS and value.dtype != kind:
                    if (value, kind) not in casts:
                        casts[value, kind] = _converted(value, kind, node, free)
                    node.replace_input_with(index, casts[value, kind])
            for value in node.outputs:
                if node.op_type != "Cast" and value.dtype in FLOATS:
                    value.type = ir.TensorType(computes_in)
                if value.is_graph_output() and value.dtype == ir.DataType.FLOAT16:
                    _hand_over(value, node, free)
        drop_unread(model.graph)
        return ir.passes.PassResult(model, modified=True)

    def broken(self, model: ir.Model) -> Iterable[str]:
        """Nodes that read floats of two types, outputs in fp16, unread constants."""
        for node in model.graph:
            others = OF_FLOAT32.get(node.op_type, ())
            kinds = {value.dtype for index, value in enumerate(node.inputs) if value is not None and index not in others}
            if node.op_type != "Cast" and len(kinds & {*FLOATS}) > 1:
                yield f"{node.name} reads floats of two types"
        yield from (f"{end.name} is given in fp16" for end in model.graph.outputs if end.dtype == ir.DataType.FLOAT16)
        yield from unread(model.graph)

    def _computes_in(self, node: ir.Node) -> ir.DataType:
        return ir.DataType.FLOAT16 if name_of(node) in self._types.half else ir.DataType.FLOAT


def _converted(value: ir.Value, kind: ir.DataType, reader: ir.Node, free: FreeNames) -> ir.Value:
    """The tensor in this type: a new constant, or the result of a Cast right before its first reader."""
    name = free.take(f"{value.name}.{'fp16' if kind == ir.DataType.FLOAT16 else 'fp32'}")
    assert reader.graph is not None
    if value.is_initializer():
        array = array_of(value)
        converted = to_half(array, name_of(value)) if kind == ir.DataType.FLOAT16 else array.astype(np.float32)
        return add_constant(reader.graph, name, converted)
    cast = ir.val(name, kind, value.shape)
    reader.prepend(ir.node("Cast", [value], {"to": int(kind)}, outputs=[cast], name=name))
    return cast


def _hand_over(value: ir.Value, maker: ir.Node, free: FreeNames) -> None:
    """Casts an output in fp16 to float32, which gets the output's name."""
    name = name_of(value)
    value.name = free.take(f"{name}.half")
    output = ir.val(name, ir.DataType.FLOAT, value.shape)
    value.replace_all_uses_with(output, replace_graph_outputs=True)
    attributes = {"to": int(ir.DataType.FLOAT)}
    maker.append(ir.node("Cast", [value], attributes, outputs=[output], name=free.take(f"{name}.fp32")))
