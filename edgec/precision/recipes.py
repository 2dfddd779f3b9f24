"""int8 plans made by rule from one pass of calibration: all static, all per token, and a mixture.

A norm's output, once smoothed, fits one static range well, and a static range is quantised once for all products that read it.
What attention mixes and what an MLP's activation function leaves can hold massive tokens that no weight can smooth: there a
range for each token keeps the others' resolution. The mixture takes each where it is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
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

SHARES = (0.08, 0.16, 0.33)
"""Of all products: how many leave static int8 in the measured recipes."""


@dataclass(frozen=True)
class Recipe:
    """An int8 plan in words: which operations leave static int8, and why. `kept` stay in the plan's other type."""

    variant: str
    per_token: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    reason: str = ""


STATIC = Recipe("static")


def rule_recipes(hub: onnx.ModelProto, *, per_token: bool) -> tuple[Recipe, ...]:
    """The recipes that need no measurement, from the fastest to the most faithful; static alone where the runtime has no int8 per
    token."""
    linear = [operation for operation in operations(hub) if operation.kind == "linear"]
    if not per_token or not linear:
        return (STATIC,)
    normed = {group.activation for group in groups(hub) if group.maker_is_norm}
    massive = frozenset(operation.name for operation in linear if operation.activation not in normed)
    return (
        STATIC,
        Recipe("mixed", massive, reason="its input is no norm's output and may hold massive tokens"),
        Recipe("per-token", frozenset(operation.name for operation in linear), reason="every product has a range for each token"),
    )


def measured_recipes(hub: onnx.ModelProto, sensitivity: Mapping[str, float], *, per_token: bool) -> tuple[Recipe, ...]:
    """Recipes that take out of static int8 the operations that lose most for what taking them out costs, a few and then more.

    The cost of a range for each token is taken to grow with the activation's size, that of another type with the product's.
    """
    linear = {operation.name: operation for operation in operations(hub) if operation.kind == "linear"}

    def gain(name: str) -> float:
        cost = linear[name].activation_size if per_token else linear[name].macs
        return sensitivity[name] / cost

    ranked = sorted((name for name in sensitivity if name in linear), key=gain, reverse=True)
    found = []
    for share in SHARES:
        count = max(1, round(share * len(ranked)))
        taken = frozenset(ranked[:count])
        reason = f"among the {count} operations that lose most features for their cost"
        found.append(
            Recipe(f"tokens-{count}", taken, reason=reason) if per_token else Recipe(f"but-{count}", kept=taken, reason=reason)
        )
    return tuple(found)


def int8_plan(
    hub: onnx.ModelProto,
    statistics: Mapping[str, Statistics],
    recipe: Recipe = STATIC,
    *,
    kinds: tuple[str, ...],
    rest: Precision,
    activations: Literal["u8", "s8"] = "u8",
    weight_bits: int = 8,
) -> PrecisionPlan:
    """Every operation of these kinds in int8 as the recipe says, the rest in `rest`.

    Raises `CalibrationError` if calibration has not seen an activation.
    """
    chosen = [entry for entry in operations(hub) if entry.kind in kinds and entry.name not in recipe.kept]
    missing = sorted({operation.activation for operation in chosen} - set(statistics))
    if missing:
        raise CalibrationError("Calibration gave no range for some activations.", evidence=missing[:8])
    scales = search_smoothing(hub, statistics, per_token=recipe.per_token, activations=activations)
    smoothed = dict(statistics)
    smoothed |= {name: statistics[name].scaled(np.asarray(scale, np.float32)) for name, scale in scales.items()}
    plan = PrecisionPlan(
        "int8",
        rest,
        operations={entry.name: "int8-per-token" if entry.name in recipe.per_token else "int8" for entry in chosen},
        ranges={operation.activation: smoothed[operation.activation].range for operation in chosen},
        smoothing=scales,
        activations=activations,
        weight_bits=weight_bits,
    )
    static = [operation for operation in chosen if operation.kind == "linear" and plan.precision_of(operation.name) == "int8"]
    return replace(plan, corrections=_corrections(smooth(hub, scales), static, smoothed, plan))


def _corrections(
    smoothed: onnx.ModelProto, static: list[Operation], statistics: Mapping[str, Statistics], plan: PrecisionPlan
) -> dict[str, tuple[float, ...]]:
    """What each product's outputs lose on average, for those that have a bias to give it back in.

    What rounded weights take is exact, from the activation's mean over all frames. What rounding the activation takes is
    estimated on the sampled rows, and shrunk by how much of the estimate sampling alone would explain.
    """
    values, editor = constants(smoothed), ConstantEditor(smoothed)
    nodes = {node.name: node for node in smoothed.graph.node}
    found = {}
    for operation in static:
        if not editor.has(bias_node(operation.name), 1):
            continue
        weight = numpy_helper.to_array(values[nodes[operation.name].input[1]])
        rounded = quantise_weight(weight, plan.weight_bits)
        seen = statistics[operation.activation]
        by_weight = seen.mean @ (weight - rounded)
        lost = (seen.rows - quantise_static(seen.rows, plan.ranges[operation.activation], plan.activations)) @ rounded
        mean, noise = lost.mean(axis=0), lost.var(axis=0) / len(lost)
        by_activation = mean * np.clip(1 - noise / np.maximum(mean**2, 1e-30), 0, 1)
        found[operation.name] = tuple(float(value) for value in by_weight + by_activation)
    return found
