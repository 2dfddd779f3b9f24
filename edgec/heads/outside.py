"""Weights that an ONNX head keeps in a file beside it: `HEAD.onnx.data`, as `torch.onnx.export` writes unless it is told not to.

Only that one file is read, because only that one is in the head's hash; wherever else a graph points to, it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import TensorProto

from edgec.checkpoint.text import counted, listed, shown
from edgec.errors import HeadError
from edgec.graph.files import LIMIT
from edgec.heads.description import data_beside


def take_in(model: onnx.ModelProto, path: Path) -> None:
    """Put all weights into the graph. Raises `HeadError` if some are anywhere else than beside it, or not whole."""
    outside = [each for each in _tensors(model.graph) if each.data_location == TensorProto.EXTERNAL]
    outside += [
        each
        for function in model.functions
        for node in function.node
        for each in _of_node(node)
        if each.data_location == TensorProto.EXTERNAL
    ]
    if not outside:
        return
    data, wanted = data_beside(path), f"{path.name}.data"
    places = sorted({_said(tensor).get("location", "") for tensor in outside})
    if data is None or places != [wanted]:
        raise HeadError(
            f"{shown(path)} does not hold its weights itself.",
            evidence=(f"{listed(each.name for each in outside)}: in {listed(places)}", f"looked for {shown(wanted)} beside it"),
            remedy="copy that file too, under that name, or save one file: torch.onnx.export(…, external_data=False)",
        )
    if data.stat().st_size > LIMIT:
        raise HeadError(f"{shown(data)} is too large for a head.", evidence=counted(data.stat().st_size, "byte"))
    try:
        content = data.read_bytes()
    except OSError as error:
        raise HeadError(f"{shown(data)} cannot be read.", evidence=shown(error)) from error
    for tensor in outside:
        _fill(tensor, content, data)


def _fill(tensor: TensorProto, content: bytes, data: Path) -> None:
    said = _said(tensor)
    try:
        start = int(said.get("offset", "0"))
        length = int(said.get("length", str(len(content) - start)))
    except ValueError:
        start = length = -1
    if not 0 <= start <= start + length <= len(content):
        raise HeadError(
            f"{shown(data)} is truncated, or belongs to another graph.",
            evidence=f"{shown(tensor.name)} is said to be at {shown(said)}; the file has {counted(len(content), 'byte')}",
            remedy="copy both files again, together",
        )
    tensor.raw_data = content[start : start + length]
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _said(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from _of_node(node)


def _of_node(node: onnx.NodeProto) -> Iterator[TensorProto]:
    """Constants in attributes, and those of the graphs in it."""
    for attribute in node.attribute:
        yield from ([attribute.t] if attribute.HasField("t") else [])
        yield from attribute.tensors
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            yield from _tensors(graph)
