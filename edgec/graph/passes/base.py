"""What passes over the hub graph have in common: promises that are checked before and after each pass, in every build."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import zip_longest

import onnx_ir as ir

from edgec.errors import ExportError
from edgec.graph.values import name_of, shape_of


class BrokenPromise(ExportError, ir.passes.PreconditionError, ir.passes.PostconditionError):
    """A graph that a pass cannot work on, or that a pass left damaged: a bug in edgec."""


class Rewrite(ir.passes.InPlacePass):
    """A pass that leaves the model's inputs and outputs as they are.

    Requires, and ensures: nodes in the order of execution, each with a name of its own. A pass adds to both what else it relies
    on and promises, as names of what is broken.
    """

    _interface: tuple[str, ...] = ()

    def requires(self, model: ir.Model) -> None:
        """Raises `BrokenPromise` for a graph that this pass cannot work on."""
        self._interface = self.interface(model)
        self._refuse("cannot work on this graph", [*unordered(model.graph), *namesakes(model.graph), *self.missing(model)])

    def ensures(self, model: ir.Model) -> None:
        """Raises `BrokenPromise` for a graph that this pass damaged."""
        both = zip_longest(self._interface, self.interface(model), fillvalue="nothing")
        moved = [f"{before} became {now}" for before, now in both if before != now]
        self._refuse("left a damaged graph", [*moved, *unordered(model.graph), *namesakes(model.graph), *self.broken(model)])

    def interface(self, model: ir.Model) -> tuple[str, ...]:
        """Descriptions of what the pass must leave unchanged: here all inputs and outputs."""
        return (*ends("input", model.graph.inputs), *ends("output", model.graph.outputs))

    def missing(self, model: ir.Model) -> Iterable[str]:
        """Sentences about what this pass relies on and the model lacks."""
        return ()

    def broken(self, model: ir.Model) -> Iterable[str]:
        """Sentences about what this pass promises and the model lacks after it ran."""
        return ()

    def _refuse(self, what: str, broken: list[str]) -> None:
        if broken:
            raise BrokenPromise(
                f"The pass {type(self).__name__} {what}.",
                evidence=broken[:8],
                remedy="report this with the versions that `edgec doctor` prints",
            )


def rewritten(model: ir.Model, *passes: ir.passes.PassBase) -> ir.Model:
    """A copy of the model after these passes, one after another. It shares the constants that they do not change.

    Raises `BrokenPromise`, and the passes' own errors as they are, which onnx-ir's `Sequential` would wrap.
    """
    copy = model.clone()
    for each in passes:
        each(copy)
    return copy


def ends(kind: str, values: Iterable[ir.Value]) -> tuple[str, ...]:
    """Descriptions of inputs or outputs: name, type, shape."""
    return tuple(f"{kind} {value.name} {value.dtype} {shape_of(value)}" for value in values)


def namesakes(graph: ir.Graph) -> list[str]:
    """Sentences about names that several nodes have."""
    counts = Counter(name_of(node) for node in graph)
    return [f"two nodes are named {name}" for name, count in counts.items() if count > 1]


def unordered(graph: ir.Graph) -> list[str]:
    """Sentences about nodes that read a tensor before it is made, or one that nothing makes."""
    made: set[ir.Node | None] = set()
    problems = []
    for node in graph:
        for value in node.inputs:
            if value is None or value.is_initializer() or value.is_graph_input():
                continue
            if value.producer() not in made:
                problems.append(f"{node.name} reads {value.name} before it is made")
        made.add(node)
    return problems


def unread(graph: ir.Graph) -> list[str]:
    """Sentences about constants that nothing reads."""
    return [f"nothing reads {name}" for name, value in graph.initializers.items() if not value.uses()]
