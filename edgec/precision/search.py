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
"""Of a share of error in what attention or an activation function reads, how much is left in what they give (ViT-S/16)."""


def ladder(hub: ir.Model, sensitivity: Mapping[str, float], *, kinds: Sequence[str], per_token: bool) -> tuple[Recipe, ...]:
    """One more operation leaves static int8 with each step, the one that buys most features for its cost first.

    Where the runtime has int8 per token, all products take that before any leaves int8 altogether.
    """
    found = operations(hub)
    lost = {entry.name: sensitivity.get(entry.name, 0.0) for entry in found if entry.kind in kinds}
    products = {entry.name for entry in found if entry.kind == "linear"}
    order = ranked(found, lost, tokens=False)
    tokens = ranked(found, {name: value for name, value in lost.items() if name in products}, tokens=True) if per_token else ()
    steps = [(frozenset(tokens[:count]), frozenset[str]()) for count in range(1, len(tokens) + 1)]
    whole = frozenset(tokens)
    steps += [(whole - set(order[:count]), frozenset(order[:count])) for count in range(1, len(order))]
    return tuple(
        Recipe(f"budget-{number}", on_tokens, kept, f"one of the {number} steps out of static int8 that the budget takes")
        for number, (on_tokens, kept) in enumerate(steps, 1)
    )


def fewest(steps: Sequence[Recipe], within: Callable[[Recipe], bool]) -> Recipe | None:
    """The first step that is within the budget, found by halving: each step is taken to be at least as faithful as the one
    before. None if the last is not within it. `within` lowers and runs a plan: it is asked some seven times for a ViT-S."""
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
    """Where nothing was measured: by operation, what rounding adds to the residual stream, squared, on the sampled rows.

    For an operation that adds to the stream itself that is its outputs' error about its mean, which a bias takes. Of another's
    error the share in its outputs goes on to the next that adds, and `PASSED_ON` of it is left. (ViT-S/16, 72 operations: rank
    correlation with what was measured 0.8; that of the outputs' relative errors alone 0.05.)
    """
    model = smoothed(hub, plan)
    writers = set(residual_writers(model))
    found: dict[str, float] = {}
    waiting: dict[str, float] = {}
    for operation in operations(model):
        if not plan.precision_of(operation.name).startswith("int8"):
            continue
        exact, rounded = _outputs(operation, statistics, plan)
        energy, error = float(np.square(exact).sum(axis=1).mean()), float((rounded - exact).var(axis=0).sum())
        if operation.name not in writers:
            waiting[operation.name] = error / max(energy, 1e-30)
            continue
        found |= {name: PASSED_ON * share * energy for name, share in waiting.items()} | {operation.name: error}
        waiting.clear()
    return found | waiting


def _outputs(
    operation: Operation, statistics: Mapping[str, Statistics], plan: PrecisionPlan
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of the sampled rows, exact and in int8. A convolution's rows are positions, its columns neighbours too."""
    seen = statistics[operation.activation]
    if operation.activation in plan.smoothing:
        seen = seen.scaled(np.asarray(plan.smoothing[operation.activation], np.float32))
    rows = quantise_static(seen.rows, plan.ranges[operation.activation], plan.activations)
    held = quantised_weight(operation, plan)
    weights = operation.weights, held.integers * held.scales.reshape(operation.spread)
    exact, rounded = (by_input_channel(operation, each).reshape(seen.rows.shape[1], -1) for each in weights)
    return seen.rows @ exact, rows @ rounded
