"""Take out what no output needs: runtimes compute it all the same.

Requires nodes in the order of execution; ensures that the outputs are computed from what is left, and that nothing else is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx


def prune(graph: onnx.GraphProto) -> None:
    """Nodes, constants and what is known of their tensors. Inputs stay."""
    needed = {value.name for value in graph.output}
    outputs = frozenset(needed)
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(name for name in node.input if name)
            nodes.append(node)
    made = {name for node in nodes for name in node.output}
    refill(graph.node, reversed(nodes))
    refill(graph.initializer, (entry for entry in graph.initializer if entry.name in needed))
    refill(graph.value_info, (entry for entry in graph.value_info if entry.name in (made | needed) - outputs))


def refill(field: Any, entries: Iterable[Any]) -> None:
    """protobuf copies on extend: the copies must be there before the field that owns the originals is cleared."""
    copies = [type(entry).FromString(entry.SerializeToString()) for entry in entries]
    del field[:]
    field.extend(copies)
