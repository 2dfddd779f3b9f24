"""Keep ONNX Runtime from fusing an int8 product and its bias into a float Gemm.

Its optimiser turns MatMul + Add into Gemm before it looks for Q/DQ pairs, and a Gemm with a float bias then stays in float:
ViT-S/16 at 224x224 took 93 ms instead of 26 on two AVX512-VNNI cores (ONNX Runtime 1.32). A bias with leading dimensions of one
is not joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx_ir as ir

from edgec.graph.passes.base import Rewrite, unread
from edgec.graph.passes.constants import bias_add
from edgec.graph.plan import PrecisionPlan
from edgec.graph.values import add_constant, array_of, drop_unread, input_of, shape_of


class LiftBiases(Rewrite):
    """Requires a graph with the plan's pairs in it. Ensures that the bias of each int8 product has the rank of what it is added
    to, and that no constant is left unread."""

    def __init__(self, plan: PrecisionPlan) -> None:
        super().__init__()
        self._plan = plan

    def missing(self, model: ir.Model) -> Iterable[str]:
        """Biases whose product has an output of unknown shape."""
        return (f"the shape of {add.name} is not known" for add in self._adds(model) if shape_of(input_of(add)) is None)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Gives each int8 product a bias constant of its own, reshaped."""
        for add in self._adds(model):
            shape = (1,) * (len(shape_of(input_of(add)) or ()) - 1) + (-1,)
            # A constant of its own: the exporter lets equal constants share one, and the others need their rank.
            lifted = array_of(input_of(add, 1)).reshape(shape)
            add.replace_input_with(1, add_constant(model.graph, f"{add.name}.lifted_bias", lifted))
        drop_unread(model.graph)
        return ir.passes.PassResult(model, modified=True)

    def broken(self, model: ir.Model) -> Iterable[str]:
        """Biases of another rank than their product's output, and unread constants."""
        for add in self._adds(model):
            if len(shape_of(input_of(add, 1)) or ()) != len(shape_of(input_of(add)) or ()):
                yield f"{add.name} adds a bias of another rank"
        yield from unread(model.graph)

    def _adds(self, model: ir.Model) -> Iterator[ir.Node]:
        for node in model.graph:
            if node.op_type == "MatMul" and self._plan.operations.get(node.name or "") == "int8" and (add := bias_add(node)):
                yield add
