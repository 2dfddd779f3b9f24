"""What one run of a strongly typed graph does: multiplications by type, bytes by where they come from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgec.graph.operations import PRODUCTS, multiplications

Kind = Literal["int8", "fp16", "fp32"]


@dataclass(frozen=True)
class Work:
    """What one run of a strongly typed graph does, a batch, heads included. `macs` are multiply-accumulates by the type that they
    are done in; `weight_bytes` of all constants as they are stored; `frame_bytes` of the network's inputs and outputs;
    `exchanged_bytes` of what products and convolutions read and write, as the graph types it, if none of it stayed in a cache."""

    macs: dict[Kind, int]
    weight_bytes: int
    frame_bytes: int
    exchanged_bytes: int


def count_work(typed: onnx.ModelProto) -> Work:
    """Of a strongly typed graph (`edgec.lowering.tensorrt`) with static shapes. A product counts as int8 if it reads
    DequantizeLinear."""
    graph = typed.graph
    values = (*graph.input, *graph.output, *graph.value_info)
    shapes: dict[str, tuple[int, ...]] = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in values
    }
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    for constant in graph.initializer:
        shapes[constant.name], kinds[constant.name] = tuple(constant.dims), constant.data_type
    makers = {name: node for node in graph.node for name in node.output}

    def size(name: str) -> int:
        width: np.dtype[np.generic] = helper.tensor_dtype_to_np_dtype(kinds[name])
        return prod(shapes[name]) * width.itemsize

    def dequantised(name: str) -> bool:
        return name in makers and makers[name].op_type == "DequantizeLinear"

    macs: Counter[Kind] = Counter()
    exchanged = 0
    constants = {constant.name for constant in graph.initializer}
    for node in graph.node:
        if node.op_type not in PRODUCTS:
            continue
        sides = [shapes[name] for name in (*node.input[:2], node.output[0])]
        int8 = dequantised(node.input[0]) and dequantised(node.input[1])
        half = kinds[node.input[0]] == TensorProto.FLOAT16
        macs["int8" if int8 else "fp16" if half else "fp32"] += multiplications(node, *sides)
        for name in node.input[:2]:
            source = makers[name].input[0] if dequantised(name) else name
            exchanged += 0 if source in constants else size(source)
        exchanged += size(node.output[0])
    return Work(
        macs=dict(macs),
        weight_bytes=sum(size(name) for name in constants),
        frame_bytes=sum(size(value.name) for value in (*graph.input, *graph.output)),
        exchanged_bytes=exchanged,
    )
