"""int8 plans made by rule from one pass of calibration: all static, all per token, and a mixture.

A norm's output, once smoothed, fits one static range well, and a static range is quantised once for all products that read it.
What attention mixes and what an MLP's activation function leaves can hold massive tokens that no weight can smooth: there a
range for each token keeps the others' resolution. The mixture takes each where it is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import onnx
from onnx import numpy_helper

from edgec.errors import CalibrationError
from edgec.graph.operations import Operation, constants, operations
from edgec.graph.passes.constants import ConstantEditor
from edgec.graph.passes.correct import bias_node
from edgec.graph.passes.smooth import groups, smooth
from edgec.graph.statistics import Statistics
from edgec.precision.numbers import quantise_static, quantise_weight
from edgec.precision.plan import Precision, PrecisionPlan
from edgec.precision.smoothing import search_smoothing

Variant = Literal["static", "mixed", "per-token"]
VARIANTS: tuple[Variant, ...] = ("static", "mixed", "per-token")
"""From the fastest to the most faithful; every runtime with int8 can run the first."""


def int8_plan(
    hub: onnx.ModelProto,
    statistics: Mapping[str, Statistics],
    variant: Variant,
    *,
    kinds: tuple[str, ...],
    rest: Precision,
    activations: Literal["u8", "s8"] = "u8",
    weight_bits: int = 8,
) -> PrecisionPlan:
    """Every operation of these kinds in int8, the rest in `rest`. Only products with weights run per token.

    Raises `CalibrationError` if calibration has not seen an activation.
    """
    chosen = [operation for operation in operations(hub) if operation.kind in kinds]
    missing = sorted({operation.activation for operation in chosen} - set(statistics))
    if missing:
        raise CalibrationError("Calibration gave no range for some activations.", evidence=missing[:8])
    scales = search_smoothing(hub, statistics, per_token=variant == "per-token", activations=activations)
    smoothed = {
        name: entry.scaled(np.asarray(scales[name], np.float32)) if name in scales else entry
        for name, entry in statistics.items()
    }
    normed = {group.activation for group in groups(hub)} - {operation.activation for operation in chosen if _mixes(operation)}
    plan = PrecisionPlan(
        "int8",
        rest,
        operations={operation.name: _precision(operation, variant, normed) for operation in chosen},
        ranges={operation.activation: smoothed[operation.activation].range for operation in chosen},
        smoothing=scales,
        activations=activations,
        weight_bits=weight_bits,
    )
    static = [operation for operation in chosen if operation.kind == "linear" and plan.precision_of(operation.name) == "int8"]
    return replace(plan, corrections=_corrections(smooth(hub, scales), static, smoothed, plan))


def _precision(operation: Operation, variant: Variant, normed: set[str]) -> Precision:
    if operation.kind != "linear" or variant == "static":
        return "int8"
    if variant == "mixed" and operation.activation in normed:
        return "int8"
    return "int8-per-token"


def _mixes(operation: Operation) -> bool:
    """Whether it reads what attention mixed or a gated MLP multiplied, which can be smoothed and still holds massive tokens."""
    return operation.name.endswith((".attn.proj", ".mlp.down"))


def _corrections(
    smoothed: onnx.ModelProto, static: list[Operation], statistics: Mapping[str, Statistics], plan: PrecisionPlan
) -> dict[str, tuple[float, ...]]:
    """What each product's outputs lose on average over the sampled rows, for those that have a bias to give it back in."""
    values, editor = constants(smoothed), ConstantEditor(smoothed)
    nodes = {node.name: node for node in smoothed.graph.node}
    found = {}
    for operation in static:
        if not editor.has(bias_node(operation.name), 1):
            continue
        weight = numpy_helper.to_array(values[nodes[operation.name].input[1]])
        seen = statistics[operation.activation]
        rounded = quantise_static(seen.rows, plan.ranges[operation.activation], plan.activations)
        lost = (seen.rows @ weight - rounded @ quantise_weight(weight, plan.weight_bits)).mean(axis=0)
        found[operation.name] = tuple(float(value) for value in lost)
    return found
