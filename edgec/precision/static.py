"""The plain plans: everything in one floating-point type, and static int8 by minimum and maximum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import onnx

from edgec.errors import CalibrationError
from edgec.graph.operations import Kind, operations
from edgec.precision.plan import Precision, PrecisionPlan, Range

INT8_KINDS: tuple[Kind, ...] = ("linear", "convolution")
"""Not the first convolution, which sees raw pixels and costs 1 %; not depthwise ones, which are bound by memory; not
attention's own products, whose softmax needs the range. A lowering may take fewer."""


def int8_activations(hub: onnx.ModelProto) -> tuple[str, ...]:
    """The activation tensors whose range calibration must find, each once, in the order of execution."""
    return tuple(dict.fromkeys(entry.activation for entry in operations(hub) if entry.kind in INT8_KINDS))


def uniform(precision: Precision) -> PrecisionPlan:
    return PrecisionPlan(precision, precision)


def static_int8(
    hub: onnx.ModelProto,
    ranges: Mapping[str, Range],
    *,
    kinds: tuple[str, ...],
    rest: Precision,
    activations: Literal["u8", "s8"] = "u8",
    weight_bits: int = 8,
) -> PrecisionPlan:
    """Every operation of these kinds in int8, the rest in `rest`. Raises `CalibrationError` if an activation has no range."""
    chosen = [operation for operation in operations(hub) if operation.kind in kinds]
    needed = {operation.activation for operation in chosen}
    missing = sorted(needed - set(ranges))
    if missing:
        raise CalibrationError("Calibration gave no range for some activations.", evidence=missing[:8])
    return PrecisionPlan(
        "int8",
        rest,
        operations={operation.name: "int8" for operation in chosen},
        ranges={name: ranges[name] for name in sorted(needed)},
        activations=activations,
        weight_bits=weight_bits,
    )
