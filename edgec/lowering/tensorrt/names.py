"""Names for nodes and tensors that are added to a graph: users choose the names in their ONNX heads, which may be equal to
edgec's."""

from __future__ import annotations

import onnx_ir as ir


class FreeNames:
    """Gives names that no node and no tensor of a graph has."""

    def __init__(self, graph: ir.Graph) -> None:
        values = (value for node in graph for value in node.outputs)
        self._taken = {entry.name for entry in (*graph.inputs, *graph.outputs, *graph.initializers.values(), *graph, *values)}

    def take(self, name: str) -> str:
        """The name itself if it is free, else with underscores at its end. It is taken from then on."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name
