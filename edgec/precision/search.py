"""Spending the fidelity budget: the fewest operations out of static int8 that keep a model's features within it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from edgec.graph.operations import constants, operations
from edgec.graph.passes.smooth import smooth
from edgec.graph.statistics import Statistics
from edgec.precision.numbers import quantise_static
from edgec.precision.plan import PrecisionPlan
from edgec.precision.recipes import Recipe, ranked


def ladder(
    hub: onnx.ModelProto, sensitivity: Mapping[str, float], *, kinds: Sequence[str], per_token: bool
) -> tuple[Recipe, ...]:
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


def predict_sensitivity(hub: onnx.ModelProto, statistics: Mapping[str, Statistics], plan: PrecisionPlan) -> dict[str, float]:
    """Where nothing was measured: by operation, the squared error of its outputs on the sampled rows over their own square, or
    for a convolution that of its input."""
    smoothed = smooth(hub, plan.smoothing)
    values = constants(smoothed)
    found = {}
    for operation in operations(smoothed):
        if operation.name not in plan.operations:
            continue
        seen = statistics[operation.activation]
        if operation.activation in plan.smoothing:
            seen = seen.scaled(np.asarray(plan.smoothing[operation.activation], np.float32))
        exact, rounded = seen.rows, quantise_static(seen.rows, plan.ranges[operation.activation], plan.activations)
        if operation.name in plan.weights:
            held = plan.weights[operation.name]
            rounded = rounded @ (held.integers * held.scales)
            exact = exact @ numpy_helper.to_array(values[operation.weight])
        found[operation.name] = float(np.square(rounded - exact).mean() / max(float(np.square(exact).mean()), 1e-30))
    return found
