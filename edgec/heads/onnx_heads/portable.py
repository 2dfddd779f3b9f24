"""The same head in operations that every runtime has: exporters write some things in several ways, and runtimes lack some.

Requires static shapes, all of them known. Padding that follows from the size is written out; a shuffle through more than five
dimensions, as PyTorch's `PixelUnshuffle`, passes through as few as it needs; a contraction of two tensors is a product.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod

import numpy as np
import onnx_ir as ir

from edgec.graph.values import add_constant, input_of, shape_of, uses
from edgec.heads.onnx_heads.editing import Replacement, constant_of, forget_shapes

MOST_SIDES = 5
"""Core ML's tensors have no more dimensions."""
_WINDOWS = ("AveragePool", "Conv", "LpPool", "MaxPool")


def make_portable(graph: ir.Graph) -> None:
    """Changes the graph, whose shapes are then to be inferred again."""
    for node in tuple(graph):
        if node.op_type in _WINDOWS:
            _write_pads(node)
        elif node.op_type == "Reshape":
            _flatten_shuffle(node, graph)
        elif node.op_type == "Pow":
            _write_exponent(node, graph)
        elif node.op_type == "Einsum":
            _replace_einsum(node)
        elif node.op_type == "GatherND":
            _replace_gather(node)
    forget_shapes(graph)


def _write_pads(node: ir.Node) -> None:
    way = node.attributes.get_string("auto_pad", "NOTSET")
    shape, result = shape_of(input_of(node)), shape_of(node.outputs[0])
    if way not in ("SAME_UPPER", "SAME_LOWER") or shape is None or result is None:
        return
    rank = len(shape) - 2
    kernel = node.attributes.get_ints("kernel_shape") or (shape_of(input_of(node, 1)) or ())[2:]
    if len(kernel) != rank:
        return
    strides, dilations = (node.attributes.get_ints(name) or [1] * rank for name in ("strides", "dilations"))
    sizes = zip(shape[2:], result[2:], kernel, strides, dilations, strict=True)
    total = [max((new - 1) * step + (side - 1) * apart + 1 - old, 0) for old, new, side, step, apart in sizes]
    less, more = [side // 2 for side in total], [side - side // 2 for side in total]
    node.attributes.pop("auto_pad")
    node.attributes.add(ir.AttrInt64s("pads", [*less, *more] if way == "SAME_UPPER" else [*more, *less]))


def _write_exponent(node: ir.Node, graph: ir.Graph) -> None:
    """A whole number as a power of a float: runtimes want both in one type."""
    value = constant_of(node, 1)
    if value is not None and value.dtype in (np.int64, np.int32) and input_of(node).dtype == ir.DataType.FLOAT:
        node.replace_input_with(1, add_constant(graph, f"{node.outputs[0].name}.exponent", value.astype(np.float32)))


def _replace_gather(node: ir.Node) -> None:
    """GatherND by constant indices, as PyTorch's newer exporter writes `x[:, [0, 3, 5]]`, becomes a Gather along one side."""
    data, indices = shape_of(input_of(node)), constant_of(node, 1)
    batch = node.attributes.get_int("batch_dims", 0)
    if data is None or indices is None:
        return
    rows = indices.reshape(-1, *indices.shape[batch:])
    count = indices.shape[-1]
    if not len(rows) or not count or (rows != rows[0]).any():
        return
    picked = data[batch : batch + count]
    flat = np.ravel_multi_index(tuple(np.moveaxis(rows[0] % picked, -1, 0)), picked)
    parts, source = Replacement(node), input_of(node)
    if count > 1:
        source = parts.op("Reshape", source, parts.constant((*data[:batch], prod(picked), *data[batch + count :])))
    parts.put(parts.op("Gather", source, parts.constant(flat), axis=batch))


def _only_reader(node: ir.Node, kind: str) -> ir.Node | None:
    """The one node that reads the output, if it is of this kind."""
    output = node.outputs[0]
    readers = output.consumers() if uses(output) == 1 else ()
    return readers[0] if readers and readers[0].op_type == kind else None


def _flatten_shuffle(node: ir.Node, graph: ir.Graph) -> None:
    """In Reshape, Transpose, Reshape: sides of one are left out, and sides that stay next to each other become one."""
    inner, turn = shape_of(node.outputs[0]), _only_reader(node, "Transpose")
    back = turn and _only_reader(turn, "Reshape")
    if inner is None or len(inner) <= MOST_SIDES or turn is None or back is None:
        return
    perm = turn.attributes.get_ints("perm") or list(reversed(range(len(inner))))
    result = shape_of(back.outputs[0])
    order = [axis for axis in perm if inner[axis] != 1]
    remaining = sorted(order)
    groups = [[axis] for axis in order[:1]]
    for before, axis in pairwise(order):
        if remaining.index(axis) == remaining.index(before) + 1:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    if result is None or not 0 < len(groups) <= MOST_SIDES:
        return
    first = sorted(range(len(groups)), key=lambda index: groups[index][0])
    sides = [prod(inner[axis] for axis in groups[index]) for index in first]
    node.replace_input_with(1, add_constant(graph, f"{node.outputs[0].name}.flat.shape", np.array(sides, np.int64)))
    turn.attributes.add(ir.AttrInt64s("perm", [first.index(index) for index in range(len(groups))]))
    back.replace_input_with(1, add_constant(graph, f"{node.outputs[0].name}.flat.back", np.array(result, np.int64)))


def _replace_einsum(node: ir.Node) -> None:
    """An Einsum of two tensors becomes a MatMul, unless a side is summed that only one of them has."""
    equation = node.attributes.get_string("equation", "").replace(" ", "")
    left, arrow, out = equation.partition("->")
    terms, shapes = left.split(","), [shape_of(value) if value is not None else None for value in node.inputs]
    if not arrow or len(terms) != 2 or any(not term.isalpha() or len(set(term)) != len(term) for term in (*terms, out)):
        return
    sides: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if shape is None or len(shape) != len(term) or any(sides.setdefault(x, y) != y for x, y in zip(term, shape, strict=True)):
            return
    a, b = terms
    both = [label for label in a if label in b]
    batch, summed = [x for x in both if x in out], [x for x in both if x not in out]
    only_a, only_b = [x for x in a if x not in b], [x for x in b if x not in a]
    if set(out) != {*batch, *only_a, *only_b}:
        return
    parts = Replacement(node)

    def size(labels: list[str]) -> int:
        return prod(sides[label] for label in labels)

    def laid_out(value: ir.Value, term: str, rows: list[str], columns: list[str]) -> ir.Value:
        turned = parts.op("Transpose", value, perm=[term.index(label) for label in (*batch, *rows, *columns)])
        return parts.op("Reshape", turned, parts.constant((size(batch), size(rows), size(columns))))

    product = parts.op("MatMul", laid_out(input_of(node), a, only_a, summed), laid_out(input_of(node, 1), b, summed, only_b))
    order = [*batch, *only_a, *only_b]
    whole = parts.op("Reshape", product, parts.constant([sides[label] for label in order]))
    parts.put(parts.op("Transpose", whole, perm=[order.index(label) for label in out]))
