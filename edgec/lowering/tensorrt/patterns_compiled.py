"""The patterns of what NVIDIA's own parser and compiler was seen to refuse or to lose: shapes from data, products of integers,
int8 products that are split."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from edgec.lowering.tensorrt.patterns import found_at, of, pattern
from edgec.lowering.tensorrt.view import LAYOUT, View, above, is_constant, kind, label, maker

_SHAPED = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0, "Tile": 1}
"""By operator, which input says how large the output is."""


@found_at(of(*_SHAPED))
def shape_by_data(node: ir.Node) -> bool:
    """An output as large as values say that the network computes; `Shape` of a tensor is no value of it."""
    index = _SHAPED[node.op_type]
    return len(node.inputs) > index and _from_data(node.inputs[index], set())


@found_at(of("MatMul", "Gemm"))
def product_of_types(node: ir.Node, *, types: list[str]) -> bool:
    """A product of which an input has one of these types."""
    return any(kind(value) in types for value in node.inputs[:2])


@found_at(of("Split"))
def split_of_quantised(node: ir.Node) -> bool:
    """What an int8 product gives is split, with nothing but layout and its bias between."""
    product = above(node.inputs[0], (*LAYOUT, "Add"))
    return product is not None and product.op_type in ("MatMul", "Gemm") and all(map(_dequantised, product.inputs[:2]))


@pattern
def branches_of_other_ranks(view: View) -> Iterator[str]:
    """Conditions of which a branch gives another rank than the other one, as far as the file says."""
    for node in view.all_nodes:
        branches = [attribute.g for attribute in node.attribute if attribute.name in ("then_branch", "else_branch")]
        if node.op_type != "If" or len(branches) < 2:
            continue
        ranks = [
            [
                len(output.type.tensor_type.shape.dim) if output.type.tensor_type.HasField("shape") else None
                for output in branch.output
            ]
            for branch in branches
        ]
        if any(None not in pair and len(set(pair)) > 1 for pair in zip(*ranks, strict=False)):
            yield label(node)


def _dequantised(value: ir.Value | None) -> bool:
    node = above(value)
    return node is not None and node.op_type == "DequantizeLinear"


def _from_data(value: ir.Value | None, seen: set[ir.Value]) -> bool:
    """Whether the value follows from what the network reads, and not from shapes and constants alone."""
    if value is None or is_constant(value) or value in seen:
        return False
    seen.add(value)
    node = maker(value)
    if node is None:
        return value.is_graph_input()
    return node.op_type not in ("Shape", "Size") and any(_from_data(each, seen) for each in node.inputs)
