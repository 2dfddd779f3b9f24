"""int8 per token in ONNX Runtime: each row of a product's activation gets the scale of its own largest value as it runs.

The runtime's own dynamic quantisation has one range for all rows of a tensor, which one massive token takes for itself. A row is
quantised in one pass by QuantizeLinear along the axis of the rows, and MatMulInteger multiplies signed bytes, for which Arm has
dot products and matrix products. `targets/cpu/cpu-arm64-dotprod.toml` has counts of instructions.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import numpy as np
import onnx_ir as ir

from edgec.graph.operations import Operation, operations
from edgec.graph.passes.base import Rewrite, unread
from edgec.graph.passes.quantise import quantised_weight
from edgec.graph.plan import PrecisionPlan
from edgec.graph.values import add_constant, drop_unread, input_of, shape_of

LARGEST = 127.0
_LEAST = float(np.finfo(np.float32).tiny)
_AXES_AS_INPUT = 18
"""The version of ONNX from which ReduceMax takes its axes as an input."""


class QuantiseTokens(Rewrite):
    """Requires static shapes for what the plan's per-token products read, on a smoothed graph. Ensures that each of them
    multiplies integers, and that no constant is left unread. Products that read the same activation share its bytes."""

    def __init__(self, plan: PrecisionPlan) -> None:
        super().__init__()
        self._plan = plan

    def missing(self, model: ir.Model) -> Iterable[str]:
        """Activations of unknown shape, and weights that are not constant."""
        for operation in self._chosen(model):
            if not all(isinstance(side, int) for side in shape_of(input_of(operation.node)) or (None,)):
                yield f"the shape of {operation.activation} is not known"
            if not operation.weight:
                yield f"{operation.name} has no constant weight"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Quantises each activation once, in front of its first reader, and replaces the products."""
        quantised: dict[str, tuple[ir.Value, ir.Value]] = {}
        chosen = self._chosen(model)
        for operation in chosen:
            if operation.activation not in quantised:
                quantised[operation.activation] = _quantise(operation.node, model.opset_imports[""])
            _multiply(operation, self._plan, *quantised[operation.activation])
        drop_unread(model.graph)
        return ir.passes.PassResult(model, modified=bool(chosen))

    def broken(self, model: ir.Model) -> Iterable[str]:
        """Products that are still in float, and unread constants."""
        names = set(self._plan.of("int8-per-token"))
        for node in model.graph:
            if node.name in names and node.op_type != "MatMulInteger":
                yield f"{node.name} does not multiply integers"
        yield from unread(model.graph)

    def _chosen(self, model: ir.Model) -> list[Operation]:
        return [entry for entry in operations(model) if self._plan.precision_of(entry.name) == "int8-per-token"]


def _quantise(reader: ir.Node, opset: int) -> tuple[ir.Value, ir.Value]:
    """The reader's first input as bytes [rows, C], and the rows' scales [rows, 1]."""
    tensor, graph = input_of(reader), reader.graph
    assert graph is not None
    *leading, depth = (int(side) for side in shape_of(tensor) or ())
    rows = prod(leading)

    def constant(part: str, value: object, kind: type) -> ir.Value:
        return add_constant(graph, f"{tensor.name}.tokens.{part}", np.asarray(value, dtype=kind))

    def step(
        op_type: str, inputs: list[ir.Value], part: str, shape: list[int], bytes_: bool = False, **attributes: int
    ) -> ir.Value:
        kind = ir.DataType.INT8 if bytes_ else ir.DataType.FLOAT
        made = ir.val(f"{tensor.name}.tokens.{part}", kind, shape)
        reader.prepend(ir.node(op_type, inputs, attributes, outputs=[made], name=made.name))
        return made

    flat = step("Reshape", [tensor, constant("shape", [rows, depth], np.int64)], "flat", [rows, depth])
    sizes = step("Abs", [flat], "sizes", [rows, depth])
    if opset >= _AXES_AS_INPUT:
        peaks = step("ReduceMax", [sizes, constant("axes", [1], np.int64)], "peaks", [rows], keepdims=0)
    else:
        peaks = ir.val(f"{tensor.name}.tokens.peaks", ir.DataType.FLOAT, [rows])
        reader.prepend(ir.node("ReduceMax", [sizes], {"axes": [1], "keepdims": 0}, outputs=[peaks], name=peaks.name))
    share = step("Mul", [peaks, constant("share", 1 / LARGEST, np.float32)], "share_of_peak", [rows])
    scales = step("Max", [share, constant("least", _LEAST, np.float32)], "scales", [rows])
    zeros = constant("zero_points", np.zeros(rows), np.int8)
    values = step("QuantizeLinear", [flat, scales, zeros], "bytes", [rows, depth], True, axis=0)
    column = step("Reshape", [scales, constant("column", [rows, 1], np.int64)], "column_of_scales", [rows, 1])
    return values, column


def _multiply(operation: Operation, plan: PrecisionPlan, values: ir.Value, scales: ir.Value) -> None:
    """Puts an integer product in place of the operation's, whose name it gets."""
    node = operation.node
    graph, before = node.graph, node.outputs[0]
    assert graph is not None
    weight = quantised_weight(operation, plan)
    shape = [int(side) for side in shape_of(before) or ()]
    flat = [prod(shape[:-1]), shape[-1]]
    bytes_, channels, whole = (
        add_constant(graph, f"{operation.name}.tokens.{part}", value)
        for part, value in (
            ("weight", weight.integers), ("weight_scales", weight.scales), ("shape", np.asarray(shape, dtype=np.int64)),
        )
    )  # fmt: skip
    sums = ir.val(f"{operation.name}.sums", ir.DataType.INT32, flat)
    floats, by_row, by_channel = (
        ir.val(f"{operation.name}.{part}", ir.DataType.FLOAT, flat) for part in ("floats", "by_row", "by_channel")
    )
    after = ir.val(f"{operation.name}.per_token", ir.DataType.FLOAT, shape)
    graph.insert_before(
        node,
        [
            ir.node("MatMulInteger", [values, bytes_], outputs=[sums], name=operation.name),
            ir.node("Cast", [sums], {"to": int(ir.DataType.FLOAT)}, outputs=[floats], name=floats.name),
            ir.node("Mul", [floats, scales], outputs=[by_row], name=by_row.name),
            ir.node("Mul", [by_row, channels], outputs=[by_channel], name=by_channel.name),
            ir.node("Reshape", [by_channel, whole], outputs=[after], name=after.name),
        ],
    )
    ir.convenience.replace_all_uses_with(before, after)
    graph.remove(node, safe=True)
