"""What nodes read and make: shapes, constants, names. Who makes and reads a value is onnx-ir's own business: `Value.producer()`,
`Value.uses()`.
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
    """Whatever is in a graph has a name; onnx-ir gives one to what comes without."""
    assert entry.name is not None
    return entry.name


def input_of(node: ir.Node, index: int = 0) -> ir.Value:
    """An input that the node cannot do without."""
    value = node.inputs[index]
    assert value is not None
    return value


def array_of(constant: ir.Value) -> NDArray[Any]:
    """What a constant of the graph holds, as it is stored; not to be written to."""
    assert constant.const_value is not None
    return constant.const_value.numpy()


def uses(value: ir.Value) -> int:
    """How many inputs of nodes read it, and whether the caller gets it."""
    return len(value.uses()) + value.is_graph_output()


def add_constant(graph: ir.Graph, name: str, array: Any) -> ir.Value:
    """A new constant of the graph, in the array's own type."""
    constant = ir.val(name, const_value=ir.tensor(np.asarray(array), name=name))
    graph.register_initializer(constant)
    return constant


def drop_unread(graph: ir.Graph) -> None:
    """Take out the constants that nothing reads: the exporter lets equal ones share one, and a reader beside may go on reading
    it."""
    for name, constant in list(graph.initializers.items()):
        if not uses(constant) and not constant.is_graph_input():
            del graph.initializers[name]
