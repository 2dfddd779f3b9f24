"""Change a graph's outputs, and remove what none of them needs: runtimes would compute it all the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgec.graph.passes.base import Rewrite, ends, unread
from edgec.graph.values import name_of, shape_of, uses


class GiveOnly(Rewrite):
    """Changes the outputs. Requires tensors of these names with known types and static shapes. Ensures that they are the outputs,
    in this order, and that nothing remains that none of them needs. Inputs stay."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = list(names)

    def missing(self, model: ir.Model) -> Iterable[str]:
        """Names that no tensor has, and tensors of unknown type or shape."""
        known = {value.name: value for value in _computed(model.graph)}
        for name in self._names:
            if name not in known:
                yield f"nothing makes {name}"
            elif known[name].dtype is None or shape_of(known[name]) is None:
                yield f"type or shape of {name} is not known"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Sets the outputs and removes unused nodes."""
        if [output.name for output in model.graph.outputs] == self._names:
            return ir.passes.PassResult(model, modified=False)
        known = {value.name: value for value in _computed(model.graph)}
        model.graph.outputs[:] = [known[name] for name in self._names]
        return RemoveUnusedNodesPass()(model)

    def interface(self, model: ir.Model) -> tuple[str, ...]:
        """The inputs alone."""
        return ends("input", model.graph.inputs)

    def broken(self, model: ir.Model) -> Iterable[str]:
        """Other outputs, unneeded nodes and unread constants."""
        if [output.name for output in model.graph.outputs] != self._names:
            yield f"it gives {', '.join(name_of(output) for output in model.graph.outputs)}"
        yield from (f"nothing needs {node.name}" for node in model.graph if not any(uses(value) for value in node.outputs))
        yield from unread(model.graph)


def _computed(graph: ir.Graph) -> list[ir.Value]:
    return [value for node in graph for value in node.outputs]
