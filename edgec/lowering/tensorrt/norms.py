"""Norms of several layers side by side.

Heads that read several layers get each layer's patches through the backbone's last norm. TensorRT-RTX 1.7.1 makes a kernel of
each of these norms. Where what they read passes one concatenation first, and is taken apart again, they become one kernel with
the backbone's own last norm: a head that reads four layers needs three kernels less. The concatenation itself moves no byte:
the compiler takes it apart. (One norm of the whole concatenation takes as many kernels, and 1.8 MB more at 224 pixels: it is
split over two kernels with a float32 copy of all layers in between.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir

from edgec.graph.passes.base import Rewrite, unread
from edgec.graph.values import add_constant, drop_unread, input_of, shape_of
from edgec.lowering.tensorrt.names import FreeNames


class NormSideBySide(Rewrite):
    """What is read by LayerNorms over the last axis with the same weights, of tensors with the same shape, none of which is
    computed from another's result, passes one Concat, and a Slice for each. The values do not change. Ensures that no constant is
    left unread."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Puts every group of norms side by side."""
        groups: dict[object, list[ir.Node]] = {}
        for node in model.graph:
            if node.op_type == "LayerNormalization" and (key := _key(node)) is not None:
                groups.setdefault(key, []).append(node)
        joined = [norms for group in groups.values() if len(norms := _independent(group)) > 1]
        free = FreeNames(model.graph)
        for norms in joined:
            _concatenate(norms, model.graph, free)
        if joined:
            model.graph.sort()  # norms of early layers, and what reads them, stood before the last layer
        drop_unread(model.graph)
        return ir.passes.PassResult(model, modified=bool(joined))

    def broken(self, model: ir.Model) -> Iterable[str]:
        """Constants that nothing reads."""
        yield from unread(model.graph)


def _key(norm: ir.Node) -> object | None:
    """What norms must have in common; None for one that is left alone."""
    shape = shape_of(input_of(norm))
    if shape is None or len(shape) < 2 or norm.attributes.get_int("axis", -1) not in (-1, len(shape) - 1):
        return None
    weights = tuple(None if value is None else value.name for value in norm.inputs[1:])
    return shape, input_of(norm).dtype, weights, norm.attributes.get_float("epsilon", 1e-5)


def _independent(norms: Sequence[ir.Node]) -> list[ir.Node]:
    """Those that no other of them is computed from. (Blocks whose norms all have the same weights stand one behind another.)"""
    group, behind = set(norms), set[ir.Node]()
    for norm in norms:
        frontier, seen = [norm], set[ir.Node]()
        while frontier:
            for maker in frontier.pop().predecessors():
                if maker not in seen:
                    seen.add(maker)
                    frontier.append(maker)
        behind |= seen & group
    return [norm for norm in norms if norm not in behind]


def _concatenate(norms: Sequence[ir.Node], graph: ir.Graph, free: FreeNames) -> None:
    """Behind everything that makes what they read."""
    sources = [input_of(norm) for norm in norms]
    shape, kind, stem = shape_of(sources[0]), sources[0].dtype, free.take(f"{norms[0].name}.layers")
    assert shape is not None

    def index(name: str, number: int) -> ir.Value:
        return add_constant(graph, free.take(f"{stem}.{name}"), np.array([number], np.int64))

    together = ir.val(stem, kind, ir.Shape((shape[0] * len(norms), *shape[1:])))
    nodes = [ir.node("Concat", sources, {"axis": 0}, outputs=[together], name=stem)]
    axis = index("axis", 0)
    for number, norm in enumerate(norms):
        bounds = [index(f"{place}{number}", (number + step) * shape[0]) for place, step in (("start", 0), ("end", 1))]
        layer = ir.val(free.take(f"{stem}.{number}"), kind, ir.Shape(shape))
        nodes.append(ir.node("Slice", [together, *bounds, axis], outputs=[layer], name=layer.name))
        norm.replace_input_with(0, layer)
    norms[-1].prepend(nodes)
