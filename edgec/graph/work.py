"""What one run of a strongly typed graph does: multiplications by type, bytes by where they come from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import Literal

import onnx_ir as ir

from edgec.graph.operations import PRODUCTS, multiplications
from edgec.graph.values import input_of, shape_of

Kind = Literal["int8", "fp8", "fp16", "fp32"]


@dataclass(frozen=True)
class Work:
    """What one run of a strongly typed graph does, a batch, heads included. `macs` are multiply-accumulates by the type that they
    are done in; `weight_bytes` of all constants as they are stored; `frame_bytes` of the network's inputs and outputs;
    `exchanged_bytes` of what products and convolutions read and write, as the graph types it, if none of it stayed in a cache."""

    macs: dict[Kind, int]
    weight_bytes: int
    frame_bytes: int
    exchanged_bytes: int


def count_work(typed: ir.Model) -> Work:
    """The work of a strongly typed graph (`edgec.lowering.tensorrt`) with static shapes. A product counts as int8 or fp8
    if both of its inputs come from DequantizeLinear."""
    graph = typed.graph
    macs: Counter[Kind] = Counter()
    exchanged = 0
    for node in graph:
        if node.op_type not in PRODUCTS:
            continue
        sides = input_of(node), input_of(node, 1)
        half = sides[0].dtype == ir.DataType.FLOAT16
        macs[_bytes(sides) or ("fp16" if half else "fp32")] += multiplications(node)
        for value in sides:
            maker = _dequantiser(value)
            source = input_of(maker) if maker else value
            exchanged += 0 if source.is_initializer() else _size(source)
        exchanged += _size(node.outputs[0])
    return Work(
        macs=dict(macs),
        weight_bytes=sum(map(_size, graph.initializers.values())),
        frame_bytes=sum(map(_size, (*graph.inputs, *graph.outputs))),
        exchanged_bytes=exchanged,
    )


def _bytes(sides: tuple[ir.Value, ir.Value]) -> Kind | None:
    """The type of the bytes that both sides come from; None unless they do."""
    makers = [_dequantiser(side) for side in sides]
    if any(maker is None for maker in makers):
        return None
    return "fp8" if all(maker is not None and input_of(maker).dtype == ir.DataType.FLOAT8E4M3FN for maker in makers) else "int8"


def _dequantiser(value: ir.Value) -> ir.Node | None:
    maker = value.producer()
    return maker if maker is not None and maker.op_type == "DequantizeLinear" else None


def _size(value: ir.Value) -> int:
    """Bytes."""
    assert value.dtype is not None
    return prod(shape_of(value) or ()) * value.dtype.numpy().itemsize
