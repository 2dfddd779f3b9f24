"""Which nodes a typed ONNX graph keeps in float32, read without onnx: TensorRT 8 treats types as hints unless it is told.

Only the protobuf fields that are needed: ModelProto.graph = 7; GraphProto.node = 1, initializer = 5, output = 12,
value_info = 13; NodeProto.input = 1, output = 2, name = 3, op_type = 4; ValueInfoProto.name = 1, type = 2; TypeProto.tensor_type
= 1; its elem_type = 1, of which 1 is float32 (onnx/onnx.proto).
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Iterator, Tuple, Union

FLOAT = 1
_REDUCTIONS = ("LayerNormalization", "InstanceNormalization", "Softmax", "ReduceMean", "ReduceSum", "ReduceL2")
_PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_SEPARATORS = set(",:'\"*")
"""trtexec splits the value of --layerPrecisions at these."""

Field = Tuple[int, Union[int, memoryview]]


def float32_layers(path: Path) -> list[str]:
    """Names of the nodes that must not become fp16: norms and softmax, sums of two computed tensors (the residual stream),
    resizes in heads, and products that the graph keeps in float32. Raises `ValueError` if the file is not an ONNX graph."""
    with path.open("rb") as file:
        # Mapped, because a graph may be as large as the free memory; it is unmapped with the last view of it.
        model = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    graph = next((value for number, value in _fields(model) if number == 7), None)
    if not isinstance(graph, memoryview):
        raise ValueError("there is no graph in it")
    nodes, kinds, constants = [], {}, set()
    for number, value in _fields(graph):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            nodes.append(_node(value))
        elif number == 5:
            constants.add(_string(value, 8))
        elif number in (12, 13):
            kinds[_string(value, 1)] = _kind(value)
    dequantised = {name for _, operator, _, outputs in nodes if operator == "DequantizeLinear" for name in outputs}
    names = []
    for name, operator, inputs, outputs in nodes:
        in_float32 = (
            operator in (*_REDUCTIONS, "Resize")
            or (operator == "Add" and not constants & set(inputs))
            or (operator in _PRODUCTS and not dequantised & set(inputs))
        )
        if in_float32 and outputs and kinds.get(outputs[0]) == FLOAT and name and not _SEPARATORS & set(name):
            names.append(name)
    return names


def _node(data: memoryview) -> tuple[str, str, list[str], list[str]]:
    """Name, operator, inputs, outputs."""
    texts: dict[int, list[str]] = {1: [], 2: [], 3: [], 4: []}
    for number, value in _fields(data):
        if number in texts and isinstance(value, memoryview):
            texts[number].append(bytes(value).decode("utf-8"))
    return "".join(texts[3]), "".join(texts[4]), texts[1], texts[2]


def _string(data: memoryview, field: int) -> str:
    for number, value in _fields(data):
        if number == field and isinstance(value, memoryview):
            return bytes(value).decode("utf-8")
    return ""


def _kind(value_info: memoryview) -> int:
    """The element type of a tensor; 0 if the graph does not state it."""
    value: int | memoryview = value_info
    for field in (2, 1, 1):
        if not isinstance(value, memoryview):
            return 0
        value = next((inner for number, inner in _fields(value) if number == field), 0)
    return value if isinstance(value, int) else 0


def _fields(data: memoryview) -> Iterator[Field]:
    position, end = 0, len(data)
    while position < end:
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield number, value
        elif wire == 2:
            size, position = _varint(data, position)
            if position + size > end:
                raise ValueError("it is cut short")
            yield number, data[position : position + size]
            position += size
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
        else:
            raise ValueError("it is not a protobuf message")


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise ValueError("it is cut short")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
