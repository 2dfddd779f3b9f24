"""The same in operations that every runtime has: what exporters write in one of several ways, and some runtime has not.

Requires static shapes, all of them known. Padding that follows from the size is written out; a shuffle through more than five
dimensions, as PyTorch's `PixelUnshuffle`, passes through as few as it needs; a contraction of two tensors is a product.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgec.graph.protobuf import refill, shape_of

Shape = tuple[int, ...]
MOST_SIDES = 5
"""Core ML's tensors have no more."""
_WINDOWS = ("AveragePool", "Conv", "LpPool", "MaxPool")


class _Graph:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        values = (*graph.value_info, *graph.input, *graph.output)
        self.shapes: dict[str, Shape | None] = {value.name: shape_of(value) for value in values}
        self.shapes |= {entry.name: tuple(entry.dims) for entry in graph.initializer}
        self.types = {value.name: value.type.tensor_type.elem_type for value in values}
        self.values = {entry.name: entry for entry in graph.initializer}
        self.outputs = {value.name for value in graph.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def constant(self, name: str, values: Shape) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def only_reader(self, node: onnx.NodeProto, kind: str) -> onnx.NodeProto | None:
        readers = self.readers.get(node.output[0], [])
        fits = len(readers) == 1 and readers[0].op_type == kind and node.output[0] not in self.outputs
        return readers[0] if fits else None


def plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, changed. What is known of the tensors inside goes: they are to be inferred again."""
    found = _Graph(model.graph)
    nodes: list[onnx.NodeProto] = []
    for number, node in enumerate(model.graph.node):
        if node.op_type in _WINDOWS:
            _write_pads(node, found)
        elif node.op_type == "Reshape":
            _flatten_shuffle(node, found, f"{node.output[0]}.flat{number}")
        elif node.op_type == "Pow":
            _write_exponent(node, found, f"{node.output[0]}.exponent{number}")
        made = None
        if node.op_type == "Einsum":
            made = _product(node, found, f"{node.output[0]}.einsum{number}")
        elif node.op_type == "GatherND":
            made = _gathered(node, found, f"{node.output[0]}.gather{number}")
        nodes += [node] if made is None else made
    refill(model.graph.node, nodes)
    del model.graph.value_info[:]
    return model


def _said(node: onnx.NodeProto) -> dict[str, onnx.AttributeProto]:
    return {attribute.name: attribute for attribute in node.attribute}


def _write_pads(node: onnx.NodeProto, found: _Graph) -> None:
    said = _said(node)
    way = said["auto_pad"].s if "auto_pad" in said else b"NOTSET"
    shape, result = found.shapes.get(node.input[0]), found.shapes.get(node.output[0])
    if way not in (b"SAME_UPPER", b"SAME_LOWER") or shape is None or result is None:
        return
    rank = len(shape) - 2
    kernel = list(said["kernel_shape"].ints) if "kernel_shape" in said else list((found.shapes.get(node.input[1]) or ())[2:])
    if len(kernel) != rank:
        return
    strides, dilations = (list(said[name].ints) if name in said else [1] * rank for name in ("strides", "dilations"))
    sizes = zip(shape[2:], result[2:], kernel, strides, dilations, strict=True)
    total = [max((new - 1) * step + (side - 1) * apart + 1 - old, 0) for old, new, side, step, apart in sizes]
    less, more = [side // 2 for side in total], [side - side // 2 for side in total]
    for name in ("auto_pad", "pads"):
        if name in said:
            node.attribute.remove(said[name])
    pads = [*less, *more] if way == b"SAME_UPPER" else [*more, *less]
    node.attribute.append(helper.make_attribute("pads", pads))


def _write_exponent(node: onnx.NodeProto, found: _Graph, name: str) -> None:
    """A whole number as a power of a float, which runtimes want in one type."""
    value = found.values.get(node.input[1])
    if value is not None and value.data_type in (onnx.TensorProto.INT64, onnx.TensorProto.INT32):
        kind = found.types.get(node.input[0])
        if kind == onnx.TensorProto.FLOAT:
            found.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(value).astype(np.float32), name))
            node.input[1] = name


def _gathered(node: onnx.NodeProto, found: _Graph, stem: str) -> list[onnx.NodeProto] | None:
    """GatherND by constant indices, as PyTorch's newer exporter writes `x[:, [0, 3, 5]]`: a Gather along one side."""
    data, value = found.shapes.get(node.input[0]), found.values.get(node.input[1])
    batch = int(_said(node)["batch_dims"].i) if "batch_dims" in _said(node) else 0
    if data is None or value is None:
        return None
    indices = numpy_helper.to_array(value)
    rows = indices.reshape(-1, *indices.shape[batch:])
    count = indices.shape[-1]
    if not len(rows) or not count or (rows != rows[0]).any():
        return None
    picked = data[batch : batch + count]
    flat = np.ravel_multi_index(tuple(np.moveaxis(rows[0] % picked, -1, 0)), picked).astype(np.int64)
    found.graph.initializer.append(numpy_helper.from_array(flat, f"{stem}.indices"))
    name, nodes = node.input[0], []
    if count > 1:
        name = f"{stem}.flat"
        shape = found.constant(f"{stem}.shape", (*data[:batch], prod(picked), *data[batch + count :]))
        nodes.append(helper.make_node("Reshape", [node.input[0], shape], [name], name=name))
    return [*nodes, helper.make_node("Gather", [name, f"{stem}.indices"], [node.output[0]], name=f"{stem}.picked", axis=batch)]


def _flatten_shuffle(node: onnx.NodeProto, found: _Graph, name: str) -> None:
    """Reshape, Transpose, Reshape: sides of one go, and sides that stay beside each other are one."""
    inner, turn = found.shapes.get(node.output[0]), found.only_reader(node, "Transpose")
    back = turn and found.only_reader(turn, "Reshape")
    if inner is None or len(inner) <= MOST_SIDES or turn is None or back is None:
        return
    perm = list(_said(turn)["perm"].ints) if "perm" in _said(turn) else list(reversed(range(len(inner))))
    result = found.shapes.get(back.output[0])
    order = [axis for axis in perm if inner[axis] != 1]
    there = sorted(order)
    groups = [[axis] for axis in order[:1]]
    for before, axis in pairwise(order):
        if there.index(axis) == there.index(before) + 1:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    if result is None or not 0 < len(groups) <= MOST_SIDES:
        return
    first = sorted(range(len(groups)), key=lambda index: groups[index][0])
    node.input[1] = found.constant(f"{name}.shape", tuple(prod(inner[axis] for axis in groups[index]) for index in first))
    del turn.attribute[:]
    turn.attribute.append(helper.make_attribute("perm", [first.index(index) for index in range(len(groups))]))
    back.input[1] = found.constant(f"{name}.back", result)


def _product(node: onnx.NodeProto, found: _Graph, stem: str) -> list[onnx.NodeProto] | None:
    """An Einsum of two tensors, none of whose sides is in one of them alone and summed; None for another."""
    equation = _said(node)["equation"].s.decode("ascii", "replace").replace(" ", "")
    left, arrow, out = equation.partition("->")
    terms, shapes = left.split(","), [found.shapes.get(name) for name in node.input]
    if not arrow or len(terms) != 2 or any(not term.isalpha() or len(set(term)) != len(term) for term in (*terms, out)):
        return None
    sides: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if shape is None or len(shape) != len(term) or any(sides.setdefault(x, y) != y for x, y in zip(term, shape, strict=True)):
            return None
    a, b = terms
    both = [label for label in a if label in b]
    batch, summed = [x for x in both if x in out], [x for x in both if x not in out]
    own, other = [x for x in a if x not in b], [x for x in b if x not in a]
    if set(out) != {*batch, *own, *other}:
        return None
    nodes: list[onnx.NodeProto] = []

    def made(kind: str, inputs: list[str], **said: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [f"{stem}.{len(nodes)}"], name=f"{stem}.{len(nodes)}", **said))
        return str(nodes[-1].output[0])

    def size(labels: list[str]) -> int:
        return prod(sides[label] for label in labels)

    def laid_out(name: str, term: str, rows: list[str], columns: list[str]) -> str:
        turned = made("Transpose", [name], perm=[term.index(label) for label in (*batch, *rows, *columns)])
        shape = (size(batch), size(rows), size(columns))
        return made("Reshape", [turned, found.constant(f"{stem}.shape{len(nodes)}", shape)])

    both_made = [laid_out(node.input[0], a, own, summed), laid_out(node.input[1], b, summed, other)]
    wide = made("MatMul", both_made)
    order = [*batch, *own, *other]
    whole = made("Reshape", [wide, found.constant(f"{stem}.whole", tuple(sides[label] for label in order))])
    made("Transpose", [whole], perm=[order.index(label) for label in out])
    nodes[-1].output[0] = node.output[0]
    return nodes
