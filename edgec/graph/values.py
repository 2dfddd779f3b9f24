"""Shapes, constants and names of the values that nodes read and make. onnx-ir itself knows who makes and reads a value:
`Value.producer()`, `Value.uses()`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray


def shape_of(value: ir.Value) -> tuple[int, ...] | None:
    """The static shape; None if it is not known, or any dimension is open."""
    return value.shape.numpy() if value.shape is not None and value.shape.is_static() else None


def name_of(entry: ir.Node | ir.Value) -> str:
    """The name of a node or value: onnx-ir gives one to those that come without."""
    assert entry.name is not None
    return entry.name


def input_of(node: ir.Node, index: int = 0) -> ir.Value:
    """An input that the node cannot do without."""
    value = node.inputs[index]
    assert value is not None
    return value


def array_of(constant: ir.Value) -> NDArray[Any]:
    """The array in a constant, as it is stored; not to be written to."""
    assert constant.const_value is not None
    return constant.const_value.numpy()


def uses(value: ir.Value) -> int:
    """How many inputs of nodes read the value, plus one if it is an output of the graph."""
    return len(value.uses()) + value.is_graph_output()


def add_constant(graph: ir.Graph, name: str, array: Any) -> ir.Value:
    """A new constant of the graph, in the array's own type."""
    constant = ir.val(name, const_value=ir.tensor(np.asarray(array), name=name))
    graph.register_initializer(constant)
    return constant


def drop_unread(graph: ir.Graph) -> None:
    """Remove constants that nothing reads. (The exporter lets equal constants share one, so a constant that one node no longer
    reads may still have others.)"""
    for name, constant in list(graph.initializers.items()):
        if not uses(constant) and not constant.is_graph_input():
            del graph.initializers[name]
