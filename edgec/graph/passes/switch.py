"""A hub graph whose int8 can be switched on for each operation alone, as it runs: for measuring what each one costs the features.

Every product's activation is `x + on * (int8(x) - x)` and its weight likewise, with `on` an element of the new input `switches`,
float32 [operations]. With all at 0 it computes what the hub graph does.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from edgec.graph.passes.base import Rewrite
from edgec.graph.passes.quantise import activation_parameters, in_bytes, quantised_weight
from edgec.graph.plan import PrecisionPlan
from edgec.graph.values import add_constant, input_of

SWITCHES = "switches"


class InsertSwitches(Rewrite):
    """Requires a smoothed graph without pairs, and a range for the activation of every operation that the plan runs in static
    int8: those that the switches are for. Ensures that there is a switch for each."""

    names: tuple[str, ...] = ()
    """These operations, in the order of the switches, once the pass ran."""

    def __init__(self, plan: PrecisionPlan) -> None:
        super().__init__()
        self._plan = plan

    def interface(self, model: ir.Model) -> tuple[str, ...]:
        """All inputs but the switches, and the outputs."""
        return tuple(end for end in super().interface(model) if not end.startswith(f"input {SWITCHES} "))

    def missing(self, model: ir.Model) -> Iterable[str]:
        """Activations without a range."""
        chosen = in_bytes(model, self._plan)
        return (f"{entry.activation} has no range" for entry in chosen if entry.activation not in self._plan.ranges)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Adds the input and, for each operation, nodes that blend its exact and its rounded values."""
        graph, chosen = model.graph, in_bytes(model, self._plan)
        switches = ir.val(SWITCHES, ir.DataType.FLOAT, [len(chosen)])
        graph.inputs.append(switches)
        lost: dict[str, ir.Value] = {}
        for index, operation in enumerate(chosen):
            node, tensor, tape = operation.node, input_of(operation.node), ir.tape.Tape()
            on = tape.op("Gather", [switches, add_constant(graph, f"{node.name}.on.index", np.array(index, np.int64))])
            if operation.activation not in lost:
                scale, zero = activation_parameters(self._plan.ranges[operation.activation], self._plan.activations)
                ways = [add_constant(graph, f"{tensor.name}.scale", scale), add_constant(graph, f"{tensor.name}.zero", zero)]
                rounded = tape.op("DequantizeLinear", [tape.op("QuantizeLinear", [tensor, *ways]), *ways])
                lost[operation.activation] = tape.op("Sub", [rounded, tensor])
            weight = quantised_weight(operation, self._plan)
            rounding = (weight.restored(operation.spread) - operation.weights).astype(np.float32)
            blended = [
                tape.op("Add", [exact, tape.op("Mul", [less, on])])
                for exact, less in (
                    (tensor, lost[operation.activation]),
                    (input_of(node, 1), add_constant(graph, f"{node.name}.weight.lost", rounding)),
                )
            ]
            node.prepend(tape.nodes)
            for slot, value in enumerate(blended):
                node.replace_input_with(slot, value)
        self.names = tuple(operation.name for operation in chosen)
        return ir.passes.PassResult(model, modified=True)

    def broken(self, model: ir.Model) -> Iterable[str]:
        """Switches that nothing reads."""
        switches = model.graph.inputs[-1]
        if switches.name != SWITCHES or len(switches.uses()) != len(self.names):
            yield f"{len(self.names)} operations, and {len(switches.uses())} switches that something reads"
