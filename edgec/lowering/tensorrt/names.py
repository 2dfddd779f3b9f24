"""Names for what is added to a graph. Those of ONNX heads are anybody's choice, and may be ours."""

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
