"""Spending the fidelity budget: the fewest operations out of static int8 that keep a model's features within it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgec.graph.numbers import quantise_static
from edgec.graph.operations import Operation, operations
from edgec.graph.passes.quantise import quantised_weight
from edgec.graph.passes.smooth import by_input_channel
from edgec.graph.plan import PrecisionPlan
from edgec.graph.planned import smoothed
from edgec.graph.residual import residual_writers
from edgec.graph.statistics import Statistics
from edgec.precision.recipes import Recipe, ranked

PASSED_ON = 0.1
"""The share of an error in the input of attention or of an activation function that is left in its output (ViT-S/16)."""


def ladder(hub: ir.Model, sensitivity: Mapping[str, float], *, kinds: Sequence[str], per_token: bool) -> tuple[Recipe, ...]:
    """One more operation leaves static int8 with each step, the one that buys most features for its cost first.

    Where the runtime has int8 per token, all products take that before any leaves int8 altogether.
    """
    entries = operations(hub)
    lost = {entry.name: sensitivity.get(entry.name, 0.0) for entry in entries if entry.kind in kinds}
    products = {entry.name for entry in entries if entry.kind == "linear"}
    order = ranked(entries, lost, tokens=False)
    tokens = ranked(entries, {name: value for name, value in lost.items() if name in products}, tokens=True) if per_token else ()
    steps = [(frozenset(tokens[:count]), frozenset[str]()) for count in range(1, len(tokens) + 1)]
    whole = frozenset(tokens)
    steps += [(whole - set(order[:count]), frozenset(order[:count])) for count in range(1, len(order))]
    return tuple(
        Recipe(f"budget-{number}", on_tokens, unquantised, f"one of the {number} steps out of static int8 that the budget takes")
        for number, (on_tokens, unquantised) in enumerate(steps, 1)
    )


def fewest(steps: Sequence[Recipe], within: Callable[[Recipe], bool]) -> Recipe | None:
    """The first step within the budget, found by bisection: each step is taken to be at least as faithful as the one before. None
    if even the last is not within it. `within` lowers and runs a plan, some seven times for a ViT-S."""
    if not steps or not within(steps[-1]):
        return None
    low, high = 0, len(steps) - 1
    while low < high:
        middle = (low + high) // 2
        if within(steps[middle]):
            high = middle
        else:
            low = middle + 1
    return steps[high]


def predict_sensitivity(hub: ir.Model, statistics: Mapping[str, Statistics], plan: PrecisionPlan) -> dict[str, float]:
    """An estimate in place of `measure_sensitivity`: by operation, the squared error that rounding adds to the residual stream,
    on the sampled rows.

    For an operation that adds to the stream itself, it is the variance of its output's error, because a bias corrects the mean.
    For another operation, the relative error of its output is passed on to the next operation that adds, and `PASSED_ON` of it
    remains. (ViT-S/16, 72 operations: the rank correlation with measured sensitivities is 0.8; that of relative errors alone
    0.05.)
    """
    model = smoothed(hub, plan)
    writers = set(residual_writers(model))
    predicted: dict[str, float] = {}
    waiting: dict[str, float] = {}
    for operation in operations(model):
        if not plan.precision_of(operation.name).startswith("int8"):
            continue
        exact, rounded = _outputs(operation, statistics, plan)
        energy, error = float(np.square(exact).sum(axis=1).mean()), float((rounded - exact).var(axis=0).sum())
        if operation.name not in writers:
            waiting[operation.name] = error / max(energy, 1e-30)
            continue
        predicted |= {name: PASSED_ON * share * energy for name, share in waiting.items()} | {operation.name: error}
        waiting.clear()
    return predicted | waiting


def _outputs(
    operation: Operation, statistics: Mapping[str, Statistics], plan: PrecisionPlan
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The operation's outputs for the sampled rows, exact and in int8. For a convolution, rows are positions, and the columns
    hold the results for each place in the kernel."""
    seen = statistics[operation.activation]
    if operation.activation in plan.smoothing:
        seen = seen.scaled(np.asarray(plan.smoothing[operation.activation], np.float32))
    rows = quantise_static(seen.rows, plan.ranges[operation.activation], plan.activations)
    weight = quantised_weight(operation, plan)
    weights = operation.weights, weight.restored(operation.spread)
    exact, rounded = (by_input_channel(operation, each).reshape(seen.rows.shape[1], -1) for each in weights)
    return seen.rows @ exact, rows @ rounded
