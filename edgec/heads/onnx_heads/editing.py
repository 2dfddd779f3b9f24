"""What the passes over ONNX heads have in common, beyond what onnx-ir has."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import DTypeLike, NDArray

from edgec.graph.values import add_constant, array_of


def constant_of(node: ir.Node, index: int) -> NDArray[Any] | None:
    """The array of an input that is a constant of the graph; None for any other input, and if there is none."""
    value = node.inputs[index] if index < len(node.inputs) else None
    return array_of(value) if value is not None and value.is_initializer() else None


def forget_shapes(graph: ir.Graph) -> None:
    """Before they are inferred again: takes the shapes off all that nodes make, and the types too, but for the outputs' own."""
    for node in graph:
        for value in node.outputs:
            value.shape = None
            if not value.is_graph_output():
                value.type = None


class Replacement:
    """Nodes that will take the place of one node with one output."""

    def __init__(self, node: ir.Node) -> None:
        self._node, self._tape, self._constants = node, ir.tape.Tape(), 0

    def op(self, kind: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """The output of a new node."""
        return self._tape.op(kind, inputs, attributes)

    def constant(self, values: Any, dtype: DTypeLike = np.int64) -> ir.Value:
        """A new constant of the graph."""
        self._constants += 1
        assert self._node.graph is not None
        name = f"{self._node.outputs[0].name}.{self._node.op_type.lower()}.constant{self._constants}"
        return add_constant(self._node.graph, name, np.array(values, dtype))

    def put(self, result: ir.Value) -> None:
        """Puts the new nodes in the old one's place; `result`, made by one of them, takes over the name and the readers."""
        assert self._node.graph is not None
        ir.convenience.replace_nodes_and_values(
            self._node.graph, self._node, [self._node], self._tape.nodes, self._node.outputs, [result]
        )
