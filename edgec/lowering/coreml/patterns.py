"""Groups of a hub graph's nodes that are one operation in MIL. The last node of a group stands for it and gives it its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from edgec.graph.operations import constants
from edgec.lowering.coreml.entries import attributes

Kind = str


@dataclass(frozen=True)
class Match:
    """`reads` are tensors of the hub graph, in the order that the operation takes them; `absorbed` the names of all other nodes
    of the group."""

    kind: Kind
    reads: tuple[str, ...]
    absorbed: tuple[str, ...]


class _Graph:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.makers = {output: node for node in self.nodes for output in node.output}
        self.values = constants(model)
        self.uses = Counter(name for node in self.nodes for name in node.input)
        self.uses.update(output.name for output in model.graph.output)

    def made(self, tensor: str, kind: str, uses: int = 1) -> onnx.NodeProto | None:
        """The node of this kind that makes the tensor, if as many read it as the pattern's own nodes do."""
        node = self.makers.get(tensor)
        return node if node is not None and node.op_type == kind and self.uses[tensor] == uses else None

    def is_number(self, tensor: str, number: float) -> bool:
        if tensor not in self.values:
            return False
        value = numpy_helper.to_array(self.values[tensor])
        return value.size == 1 and bool(np.isclose(value.item(), number, rtol=1e-6))

    def beside_number(self, node: onnx.NodeProto | None, number: float) -> str | None:
        """The other input of a node that has this number for one of its two."""
        if node is None:
            return None
        first, second = node.input
        return first if self.is_number(second, number) else second if self.is_number(first, number) else None


def find(model: onnx.ModelProto) -> dict[str, Match]:
    """By the name of a group's last node."""
    graph = _Graph(model)
    finders: dict[str, tuple[Callable[[_Graph, onnx.NodeProto], Match | None], ...]] = {
        "MatMul": (_attention,),
        "Mul": (_gelu, _silu, _rotation),
        "Add": (_biased,),
    }
    return {
        node.name: match
        for node in graph.nodes
        for finder in finders.get(node.op_type, ())
        if (match := finder(graph, node)) is not None
    }


def _attention(graph: _Graph, mix: onnx.NodeProto) -> Match | None:
    """softmax(Q·Kᵀ)·V. The hub graph has the scale in Q already."""
    softmax = graph.made(mix.input[0], "Softmax")
    scores = softmax and graph.made(softmax.input[0], "MatMul")
    turned = scores and graph.made(scores.input[1], "Transpose")
    if not softmax or not scores or not turned:
        return None
    perm, axis = list(attributes(turned).get("perm", ())), attributes(softmax).get("axis", -1)
    if len(perm) < 3 or perm != [*range(len(perm) - 2), len(perm) - 1, len(perm) - 2] or axis not in (-1, len(perm) - 1):
        return None
    reads = (scores.input[0], turned.input[0], mix.input[1])
    return Match("attention", reads, (softmax.name, scores.name, turned.name))


def _gelu(graph: _Graph, last: onnx.NodeProto) -> Match | None:
    """x · (0.5 · (1 + erf(x / √2)))"""
    for x, other in _both_ways(last):
        half = graph.made(other, "Mul")
        one = graph.made(graph.beside_number(half, 0.5) or "", "Add")
        erf = graph.made(graph.beside_number(one, 1.0) or "", "Erf")
        root = erf and graph.made(erf.input[0], "Div")
        if half and one and erf and root and root.input[0] == x and graph.is_number(root.input[1], 2**0.5):
            return Match("gelu", (x,), (half.name, one.name, erf.name, root.name))
    return None


def _silu(graph: _Graph, last: onnx.NodeProto) -> Match | None:
    """x · sigmoid(x)"""
    for x, other in _both_ways(last):
        gate = graph.made(other, "Sigmoid")
        if gate and gate.input[0] == x:
            return Match("silu", (x,), (gate.name,))
    return None


def _rotation(graph: _Graph, last: onnx.NodeProto) -> Match | None:
    """(-b ‖ a) · s, of RoPE, with a constant s."""
    joined = graph.made(last.input[0], "Concat")
    turned = joined and len(joined.input) == 2 and graph.made(joined.input[0], "Neg")
    if not joined or not turned or last.input[1] not in graph.values or attributes(joined)["axis"] not in (-1, 3):
        return None
    return Match("rotation", (turned.input[0], joined.input[1], last.input[1]), (joined.name, turned.name))


def _biased(graph: _Graph, add: onnx.NodeProto) -> Match | None:
    """x·W + b"""
    product = graph.made(add.input[0], "MatMul")
    if product is None or add.input[1] not in graph.values or not _is_weight(graph, product.input[1]):
        return None
    bias = graph.values[add.input[1]]
    return Match("linear", (product.input[0], product.input[1], add.input[1]), (product.name,)) if len(bias.dims) == 1 else None


def _is_weight(graph: _Graph, tensor: str) -> bool:
    """Of a product of matrices: constant, as it is or in 8 bits, and of two dimensions."""
    maker = graph.makers.get(tensor)
    stored = maker.input[0] if maker is not None and maker.op_type == "DequantizeLinear" else tensor
    return stored in graph.values and len(graph.values[stored].dims) == 2


def _both_ways(node: onnx.NodeProto) -> Iterator[tuple[str, str]]:
    first, second = node.input
    yield first, second
    yield second, first
