"""Weights that an ONNX head keeps in a second file: `HEAD.onnx.data`, which `torch.onnx.export` writes by default.

Only that file is read, because only that one is in the head's hash; a graph that names any other is refused. (The loaders of onnx
and onnx-ir read whatever file a graph names.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from math import prod
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from edgec.errors import HeadError
from edgec.graph.files import LIMIT
from edgec.heads.description import data_beside
from edgec.text import counted, listed, shown
from edgec.untrusted import Refused, read_bytes


def load_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Puts all weights into the graph. Raises `HeadError` if some are in another file than `HEAD.onnx.data`, or incomplete."""
    external = [each for each in _all_tensors(model) if each.data_location == TensorProto.EXTERNAL]
    if not external:
        return
    data, expected = data_beside(path), f"{path.name}.data"
    locations = sorted({_entries(tensor).get("location", "") for tensor in external})
    if data is None or locations != [expected]:
        raise HeadError(
            f"{shown(path)} does not hold its weights itself.",
            evidence=(
                f"{listed(each.name for each in external)}: in {listed(locations)}",
                f"looked for {shown(expected)} beside it",
            ),
            remedy="copy that file too, under that name, or save one file: torch.onnx.export(…, external_data=False)",
        )
    try:
        content = read_bytes(data, LIMIT)
    except (Refused, OSError) as error:
        raise HeadError(f"{shown(data)} cannot be read.", evidence=f"it {shown(error)}") from error
    total = sum(max(_place(tensor, content)[1], 0) for tensor in external)
    if total > LIMIT:
        raise HeadError(
            f"{shown(path)} names weights that are too large for a head.",
            evidence=f"{counted(total, 'byte')}, many of them the same ones of {shown(data.name)}",
        )
    for tensor in external:
        _fill(tensor, content, data)


def check_values(model: onnx.ModelProto) -> None:
    """Raises `ValueError` if a constant holds fewer values than its shape says. To be called before anything allocates by
    shape."""
    for tensor in _all_tensors(model):
        name, dims = shown(tensor.name, 80), list(tensor.dims)
        if tensor.data_type == TensorProto.STRING:
            values = len(tensor.string_data)
        elif tensor.HasField("raw_data"):
            values = len(tensor.raw_data) * _PACKED.get(tensor.data_type, 1) // _width(tensor)
        else:
            # A complex number takes two of the field's values, and several numbers of four bits share one.
            numbers = max(len(field) for field in _fields(tensor))
            values = numbers // 2 if tensor.data_type in _COMPLEX else numbers * _PACKED.get(tensor.data_type, 1)
        count = prod(dims)
        # The other sides of an empty tensor may be anything, and numpy multiplies them all the same.
        if any(side < 0 for side in dims) or count > values or prod(max(side, 1) for side in dims) > _MOST_COUNTED:
            raise ValueError(f"{name} says that it is {dims}, and holds {values:,} values")


_MOST_COUNTED = 1 << 48
_COMPLEX = (TensorProto.COMPLEX64, TensorProto.COMPLEX128)
_PACKED: dict[int, int] = {TensorProto.INT4: 2, TensorProto.UINT4: 2, TensorProto.FLOAT4E2M1: 2}


def _width(tensor: TensorProto) -> int:
    try:
        return max(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize, 1)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{shown(tensor.name, 80)} is of a type that ONNX does not have: {tensor.data_type}") from None


def _fields(tensor: TensorProto) -> tuple[Sized, ...]:
    return tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data


def _place(tensor: TensorProto, content: bytes) -> tuple[int, int]:
    """Where in the file it begins by its own account, and its length, in bytes; -1 for both if one is not a number."""
    entries = _entries(tensor)
    start, length = entries.get("offset", "0"), entries.get("length", "")
    if not all(text.isascii() and text.isdecimal() and len(text) < 20 for text in (start, length or "0")):
        return -1, -1
    return int(start), int(length) if length else len(content) - int(start)


def _fill(tensor: TensorProto, content: bytes, data: Path) -> None:
    start, length = _place(tensor, content)
    if not 0 <= start <= start + length <= len(content):
        size = counted(len(content), "byte")
        raise HeadError(
            f"{shown(data)} is truncated, or belongs to another graph.",
            evidence=f"{shown(tensor.name)} is said to be at {shown(_entries(tensor))}; the file has {size}",
            remedy="copy both files again, together",
        )
    tensor.raw_data = content[start : start + length]
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _entries(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _all_tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """All constants, those of functions included."""
    yield from _tensors(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _of_node(node)


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from _of_node(node)


def _of_node(node: onnx.NodeProto) -> Iterator[TensorProto]:
    """Constants in the node's attributes, and in the graphs in these."""
    for attribute in node.attribute:
        yield from ([attribute.t] if attribute.HasField("t") else [])
        yield from attribute.tensors
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            yield from _tensors(graph)
