"""The operations of a hub graph that may run in another precision than float32: products and convolutions.

Those of heads (`edgec.heads`) are among them, with a kind of their own: they follow the plan's default, and are neither smoothed
nor quantised as the backbone's are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any, Final, Literal

import onnx_ir as ir
from numpy.typing import NDArray

from edgec.errors import ExportError
from edgec.graph.values import array_of, input_of, name_of, shape_of

Kind = Literal["linear", "convolution", "depthwise", "embedding", "attention", "head"]
PRODUCTS: Final = ("MatMul", "Conv", "ConvTranspose", "Gemm")
"""The backbone has the first two."""
HEADS: Final = "heads."
"""The beginning of the names of all nodes, tensors and constants of heads."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """`name` is the node's: a module path. `activation` and `weight` are tensor names; `weight` is empty for attention's own
    products. `channel_axis` is the weight's output axis. `macs` are multiply-accumulates, `activation_size` elements, of a
    batch. `node` is the operation in the model that it was found in."""

    name: str
    kind: Kind
    activation: str
    weight: str
    channel_axis: int
    macs: int
    activation_size: int
    node: ir.Node = field(repr=False, compare=False)

    @property
    def weights(self) -> NDArray[Any]:
        """The weight that the node reads now; not to be written to."""
        return array_of(input_of(self.node, 1))

    @property
    def spread(self) -> list[int]:
        """The shape by which one number a channel broadcasts over the weight."""
        sides = input_of(self.node, 1).shape
        assert sides is not None
        return [-1 if axis == self.channel_axis else 1 for axis in range(len(sides))]


def operations(model: ir.Model) -> tuple[Operation, ...]:
    """The operations of a graph in the order of execution. Raises `ExportError` if a shape is open."""
    entries = []
    first_convolution = True
    for node in model.graph:
        if node.op_type not in PRODUCTS:
            continue
        activation, other = input_of(node), input_of(node, 1)
        left, right = known_shape(node, activation), known_shape(node, other)
        weight = name_of(other) if other.is_initializer() else ""
        kind: Kind = "linear" if weight else "attention"
        if is_of_a_head(node):
            kind = "head"
        elif node.op_type == "Conv":
            kind = "embedding" if first_convolution else ("depthwise" if right[1] == 1 and left[1] > 1 else "convolution")
            first_convolution = False
        axis = 0 if node.op_type == "Conv" else 1
        macs = multiplications(node)
        entries.append(Operation(name_of(node), kind, name_of(activation), weight, axis, macs, prod(left), node))
    return tuple(entries)


def is_of_a_head(node: ir.Node) -> bool:
    """Whether the node belongs to a head rather than to the backbone."""
    return name_of(node).startswith(HEADS)


def multiplications(node: ir.Node) -> int:
    """Multiply-accumulates of one of the `PRODUCTS`. Raises `ExportError` if a shape is open."""
    left, right, output = (known_shape(node, value) for value in (input_of(node), input_of(node, 1), node.outputs[0]))
    if node.op_type == "Conv":
        return prod(output) * prod(right[1:])
    if node.op_type == "ConvTranspose":
        return prod(left) * prod(right[1:])
    transposed = bool(node.attributes.get_int("transA", 0)) if node.op_type == "Gemm" else False
    return prod(output) * left[0 if transposed else -1]


def known_shape(node: ir.Node, value: ir.Value) -> Shape:
    """The static shape of a tensor that the node reads or makes. Raises `ExportError` if it is open."""
    shape = shape_of(value)
    if shape is None:
        raise ExportError(f"{node.name} has an open shape.", remedy="edgec works on static shapes alone")
    return shape
