"""The operations of a hub graph that may run in another precision than float32: products and convolutions with weights."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

import onnx

from edgec.errors import ExportError
from edgec.graph.contract import shape_of

Kind = Literal["linear", "convolution", "depthwise", "embedding", "attention"]


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
    """In the order of execution."""
    graph = model.graph
    shapes = {value.name: shape_of(value) for value in (*graph.input, *graph.output, *graph.value_info)}
    weights = {initializer.name: tuple(initializer.dims) for initializer in graph.initializer}
    found = []
    first_convolution = True
    for node in graph.node:
        if node.op_type not in ("MatMul", "Conv"):
            continue
        activation, weight = node.input[0], node.input[1]
        output, left = shapes[node.output[0]], shapes[activation]
        if output is None or left is None:
            raise ExportError(f"{node.name} has an open shape.", remedy="edgec works on static shapes alone")
        if node.op_type == "MatMul":
            constant = weight in weights
            kind: Kind = "linear" if constant else "attention"
            macs = prod(output) * left[-1]
            found.append(Operation(node.name, kind, activation, weight if constant else "", 1, macs, prod(left)))
            continue
        dims = weights[weight]
        kind = "embedding" if first_convolution else ("depthwise" if dims[1] == 1 and left[1] > 1 else "convolution")
        first_convolution = False
        found.append(Operation(node.name, kind, activation, weight, 0, prod(output) * prod(dims[1:]), prod(left)))
    return tuple(found)


def constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {initializer.name: initializer for initializer in model.graph.initializer}
