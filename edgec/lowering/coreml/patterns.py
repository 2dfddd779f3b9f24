"""Groups of a hub graph's nodes that are one operation in MIL. The operation has the name of the group's last node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgec.graph.values import array_of, input_of, shape_of, uses
from edgec.lowering.coreml.entries import attributes

Kind = str


@dataclass(frozen=True)
class Match:
    """A group of nodes that is one operation of MIL. `reads` are tensors of the hub graph, in the order in which the operation
    takes them; `absorbed` are the nodes of the group other than its last."""

    kind: Kind
    reads: tuple[ir.Value, ...]
    absorbed: tuple[ir.Node, ...]


def find(model: ir.Model) -> dict[ir.Node, Match]:
    """The groups of a hub graph, by their last nodes."""
    finders: dict[str, tuple[Callable[[ir.Node], Match | None], ...]] = {
        "MatMul": (_attention,),
        "Mul": (_gelu, _silu, _rotation),
        "Add": (_biased,),
    }
    return {
        node: match for node in model.graph for finder in finders.get(node.op_type, ()) if (match := finder(node)) is not None
    }


def _sole_maker(value: ir.Value | None, kind: str) -> ir.Node | None:
    """The node of this kind that makes the tensor, if nothing else than the pattern reads it."""
    node = value.producer() if value is not None else None
    return node if value is not None and node is not None and node.op_type == kind and uses(value) == 1 else None


def _is_number(value: ir.Value, number: float) -> bool:
    if not value.is_initializer():
        return False
    held = array_of(value)
    return held.size == 1 and bool(np.isclose(held.item(), number, rtol=1e-6))


def _other_than_number(node: ir.Node | None, number: float) -> ir.Value | None:
    """The other input of a node that has this number for one of its two."""
    both = _both_ways(node) if node is not None else ()
    return next((other for other, value in both if _is_number(value, number)), None)


def _attention(mix: ir.Node) -> Match | None:
    """softmax(Q·Kᵀ)·V. The hub graph has the scale in Q already."""
    softmax = _sole_maker(mix.inputs[0], "Softmax")
    scores = softmax and _sole_maker(softmax.inputs[0], "MatMul")
    turned = scores and _sole_maker(scores.inputs[1], "Transpose")
    if not softmax or not scores or not turned:
        return None
    perm, axis = list(attributes(turned).get("perm", ())), attributes(softmax).get("axis", -1)
    if len(perm) < 3 or perm != [*range(len(perm) - 2), len(perm) - 1, len(perm) - 2] or axis not in (-1, len(perm) - 1):
        return None
    return Match("attention", (input_of(scores), input_of(turned), input_of(mix, 1)), (softmax, scores, turned))


def _gelu(last: ir.Node) -> Match | None:
    """x · (0.5 · (1 + erf(x / √2)))"""
    for x, other in _both_ways(last):
        half = _sole_maker(other, "Mul")
        one = _sole_maker(_other_than_number(half, 0.5), "Add")
        erf = _sole_maker(_other_than_number(one, 1.0), "Erf")
        root = erf and _sole_maker(erf.inputs[0], "Div")
        if half and one and erf and root and root.inputs[0] is x and _is_number(input_of(root, 1), 2**0.5):
            return Match("gelu", (x,), (half, one, erf, root))
    return None


def _silu(last: ir.Node) -> Match | None:
    """x · sigmoid(x)"""
    for x, other in _both_ways(last):
        gate = _sole_maker(other, "Sigmoid")
        if gate and gate.inputs[0] is x:
            return Match("silu", (x,), (gate,))
    return None


def _rotation(last: ir.Node) -> Match | None:
    """(-b ‖ a) · s, of RoPE, with a constant s."""
    joined = _sole_maker(last.inputs[0], "Concat")
    turned = _sole_maker(joined.inputs[0], "Neg") if joined and len(joined.inputs) == 2 else None
    table = input_of(last, 1)
    if not joined or not turned or not table.is_initializer() or attributes(joined)["axis"] not in (-1, 3):
        return None
    return Match("rotation", (input_of(turned), input_of(joined, 1), table), (joined, turned))


def _biased(add: ir.Node) -> Match | None:
    """x·W + b"""
    product, bias = _sole_maker(add.inputs[0], "MatMul"), input_of(add, 1)
    if product is None or not bias.is_initializer() or not _is_weight(input_of(product, 1)):
        return None
    return (
        Match("linear", (input_of(product), input_of(product, 1), bias), (product,)) if len(shape_of(bias) or ()) == 1 else None
    )


def _is_weight(value: ir.Value) -> bool:
    """Of a product of matrices: constant, as it is or in 8 bits, and of two dimensions."""
    maker = value.producer()
    stored = input_of(maker) if maker is not None and maker.op_type == "DequantizeLinear" else value
    return stored.is_initializer() and len(shape_of(stored) or ()) == 2


def _both_ways(node: ir.Node) -> Iterator[tuple[ir.Value, ir.Value]]:
    first, second = input_of(node), input_of(node, 1)
    yield first, second
    yield second, first
