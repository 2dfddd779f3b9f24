"""What `edgec.heads` needs to write protobufs by hand. Everywhere else a graph is an `ir.Model`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx


def shape_of(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """The static shape; None if any dimension is open."""
    dims = value.type.tensor_type.shape.dim
    if not all(dim.HasField("dim_value") for dim in dims):
        return None
    return tuple(dim.dim_value for dim in dims)


def weight_bytes(model: onnx.ModelProto) -> int:
    return sum(len(initializer.raw_data) for initializer in model.graph.initializer)


def prune(graph: onnx.GraphProto) -> None:
    """Take out nodes, constants and what is known of their tensors, as far as no output needs them. Inputs stay."""
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
