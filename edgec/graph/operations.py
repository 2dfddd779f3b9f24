"""The operations of a hub graph that may run in another precision than float32: products and convolutions with weights.

Those of heads (`edgec.heads`) are among them, all of one kind: they follow the plan's default, and nothing that is done to the
backbone's operations is done to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final, Literal

import onnx

from edgec.errors import ExportError
from edgec.graph.contract import shape_of

Kind = Literal["linear", "convolution", "depthwise", "embedding", "attention", "head"]
PRODUCTS: Final = ("MatMul", "Conv", "ConvTranspose", "Gemm")
"""The backbone has the first two."""
HEADS: Final = "heads."
"""What the names of all nodes, tensors and constants of heads begin with."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """`name` is the node's: a module path. `activation` and `weight` are tensor names; `weight` is empty for attention's own
    products. `channel_axis` is the weight's output axis. `macs` are multiply-accumulates, `activation_size` elements, of a
    batch."""

    name: str
    kind: Kind
    activation: str
    weight: str
    channel_axis: int
    macs: int
    activation_size: int


def operations(model: onnx.ModelProto) -> tuple[Operation, ...]:
    """In the order of execution. Raises `ExportError` if a shape is open."""
    graph = model.graph
    shapes = {value.name: shape_of(value) for value in (*graph.input, *graph.output, *graph.value_info)}
    weights = {initializer.name: tuple(initializer.dims) for initializer in graph.initializer}
    found = []
    first_convolution = True
    for node in graph.node:
        if node.op_type not in PRODUCTS:
            continue
        sides = [weights.get(name, shapes.get(name)) for name in (*node.input[:2], node.output[0])]
        left, right, output = (_known(node, side) for side in sides)
        weight = node.input[1] if node.input[1] in weights else ""
        macs = multiplications(node, left, right, output)
        kind: Kind = "linear" if weight else "attention"
        if is_of_a_head(node):
            kind = "head"
        elif node.op_type == "Conv":
            kind = "embedding" if first_convolution else ("depthwise" if right[1] == 1 and left[1] > 1 else "convolution")
            first_convolution = False
        axis = 0 if node.op_type == "Conv" else 1
        found.append(Operation(node.name, kind, node.input[0], weight, axis, macs, prod(left)))
    return tuple(found)


def is_of_a_head(node: onnx.NodeProto) -> bool:
    return node.name.startswith(HEADS)


def multiplications(node: onnx.NodeProto, left: Shape, right: Shape, output: Shape) -> int:
    """Multiply-accumulates of one of the `PRODUCTS`, from the shapes of its first two inputs and its output."""
    if node.op_type == "Conv":
        return prod(output) * prod(right[1:])
    if node.op_type == "ConvTranspose":
        return prod(left) * prod(right[1:])
    transposed = node.op_type == "Gemm" and any(each.name == "transA" and each.i for each in node.attribute)
    return prod(output) * left[0 if transposed else -1]


def constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {initializer.name: initializer for initializer in model.graph.initializer}


def _known(node: onnx.NodeProto, shape: Shape | None) -> Shape:
    if shape is None:
        raise ExportError(f"{node.name} has an open shape.", remedy="edgec works on static shapes alone")
    return shape
