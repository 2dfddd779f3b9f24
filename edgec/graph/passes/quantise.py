"""Write static int8 or fp8 into the hub graph: Q/DQ pairs on the activations of products, and weights as bytes behind
DequantizeLinear.

Nothing else is touched: what a plan keeps in float or runs per token has no pair. Products that read the same activation share
one pair.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgec.graph.numbers import E4M3, LIMITS, weight_bytes, weight_scales
from edgec.graph.operations import Operation, operations
from edgec.graph.passes.base import Rewrite, unread
from edgec.graph.plan import CALIBRATED, Bytes, PrecisionPlan, QuantisedWeight, Range
from edgec.graph.values import add_constant, array_of, drop_unread, input_of


class Quantise(Rewrite):
    """Requires a range for the activation of every operation that the plan runs in static int8 or fp8, on a smoothed graph whose
    ranges they are. Attention's own products are left to the lowering that takes them. Ensures that each of the others reads
    bytes on both sides, with scales that are positive numbers, and that no constant is left unread."""

    def __init__(self, plan: PrecisionPlan) -> None:
        super().__init__()
        self._plan = plan

    def missing(self, model: ir.Model) -> Iterable[str]:
        """Activations without a range, and weights that are not constant."""
        for operation in in_bytes(model, self._plan):
            if operation.activation not in self._plan.ranges:
                yield f"{operation.activation}, which {operation.name} reads, has no range"
            if not operation.weight:
                yield f"{operation.name} has no constant weight"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Inserts the pairs, and replaces weights by integers."""
        pairs: dict[str, ir.Value] = {}
        chosen = in_bytes(model, self._plan)
        for operation in chosen:
            tensor, node = operation.activation, operation.node
            if tensor not in pairs:
                pairs[tensor] = pair(node, 0, self._plan.ranges[tensor], self._plan.activations)
            # Named by the operation: the exporter lets equal constants share one, and two products may round theirs differently.
            weight = _weight(node, quantised_weight(operation, self._plan), operation.channel_axis)
            node.replace_input_with(0, pairs[tensor])
            node.replace_input_with(1, weight)
        drop_unread(model.graph)
        return ir.passes.PassResult(model, modified=bool(chosen))

    def broken(self, model: ir.Model) -> Iterable[str]:
        """Operations that do not read bytes, scales that are not positive, unread constants."""
        for node in model.graph:
            if self._plan.operations.get(node.name or "") in CALIBRATED and _has_weight(node):
                makers = [value.producer() for value in node.inputs[:2] if value is not None]
                if any(maker is None or maker.op_type != "DequantizeLinear" for maker in makers):
                    yield f"{node.name} does not read bytes"
            if node.op_type == "DequantizeLinear" and not _positive(array_of(input_of(node, 1))):
                yield f"a scale of {node.name} is no positive number"
        yield from unread(model.graph)


def in_bytes(model: ir.Model, plan: PrecisionPlan) -> list[Operation]:
    """The model's operations that the plan runs in static int8 or fp8, attention's own aside, in the order of execution."""
    return [entry for entry in operations(model) if plan.precision_of(entry.name) in CALIBRATED and entry.kind != "attention"]


def activation_parameters(seen: Range, activation: Bytes) -> tuple[np.float32, NDArray[Any]]:
    """A scale and zero point by which 8 bits hold the whole range."""
    if activation == "fp8":
        return np.float32(_usable(max(-seen.low, seen.high) / LIMITS[activation])), np.zeros((), dtype=E4M3)
    if activation == "s8":
        return np.float32(_usable(max(-seen.low, seen.high) / 127)), np.zeros((), dtype=np.int8)
    scale = np.float32(_usable((seen.high - seen.low) / 255))
    return scale, np.asarray(np.clip(np.rint(-seen.low / scale), 0, 255), dtype=np.uint8)


def quantised_weight(operation: Operation, plan: PrecisionPlan) -> QuantisedWeight:
    """The plan's own bytes, or the weight of the operation's (smoothed) model rounded to the nearest."""
    planned = plan.weights.get(operation.name)
    if planned is not None:
        return planned
    weight = operation.weights
    scales = weight_scales(weight, operation.channel_axis, activations=plan.activations, paired=plan.paired)
    return QuantisedWeight(weight_bytes(weight, scales.reshape(operation.spread), plan.activations), scales)


def _usable(scale: Any) -> Any:
    """The scale, or one in place of zero and of subnormal numbers, which runtimes flush to zero."""
    return np.where(scale < np.finfo(np.float32).tiny, 1.0, scale)


def _has_weight(node: ir.Node) -> bool:
    """Whether the product's second input is a constant, as bytes or not; attention's own products have none."""
    weight = input_of(node, 1)
    maker = weight.producer()
    return weight.is_initializer() or (
        maker is not None and maker.op_type == "DequantizeLinear" and input_of(maker).is_initializer()
    )


def _positive(scale: NDArray[Any]) -> bool:
    return bool(np.isfinite(scale).all() and (scale > 0).all())


def pair(reader: ir.Node, index: int, seen: Range, activation: Bytes) -> ir.Value:
    """A Q/DQ pair of this input of the reader, in front of the reader, which does not read it yet."""
    tensor, graph = input_of(reader, index), reader.graph
    assert graph is not None
    scale, zero = (
        add_constant(graph, f"{tensor.name}.{part}", value)
        for part, value in zip(("scale", "zero_point"), activation_parameters(seen, activation), strict=True)
    )
    quantised = ir.val(f"{tensor.name}.quantised", zero.dtype, tensor.shape)
    dequantised = ir.val(f"{tensor.name}.dequantised", tensor.dtype, tensor.shape)
    reader.prepend(
        [
            ir.node("QuantizeLinear", [tensor, scale, zero], outputs=[quantised], name=quantised.name),
            ir.node("DequantizeLinear", [quantised, scale, zero], outputs=[dequantised], name=dequantised.name),
        ]
    )
    return dequantised


def _weight(reader: ir.Node, weight: QuantisedWeight, axis: int) -> ir.Value:
    graph, before = reader.graph, input_of(reader, 1)
    assert graph is not None
    zero = np.zeros(weight.scales.shape, weight.integers.dtype)
    parts = (("quantised", weight.integers), ("scale", weight.scales), ("zero_point", zero))
    constants = [add_constant(graph, f"{reader.name}.weight.{part}", value) for part, value in parts]
    dequantised = ir.val(f"{reader.name}.weight.dequantised", before.dtype, before.shape)
    reader.prepend(ir.node("DequantizeLinear", constants, {"axis": axis}, outputs=[dequantised], name=dequantised.name))
    return dequantised
