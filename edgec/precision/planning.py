"""From a recipe to a plan: ranges, smoothing, rounded weights and corrected biases, out of one pass of calibration."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgec.errors import CalibrationError
from edgec.graph.numbers import quantise_static
from edgec.graph.operations import Operation, operations
from edgec.graph.passes.constants import bias_add
from edgec.graph.passes.quantise import quantised_weight
from edgec.graph.plan import CALIBRATED, Bytes, Precision, PrecisionPlan, QuantisedWeight
from edgec.graph.planned import smoothed
from edgec.graph.statistics import Statistics
from edgec.precision.recipes import STATIC, Recipe
from edgec.precision.rounding import compensation, round_weight
from edgec.precision.smoothing import search_smoothing
from edgec.precision.static import headroom


class Planner:
    """Makes int8 plans, or fp8 plans, for one graph and one kind of arithmetic. What several recipes share is computed once.

    `activations` and `paired` say how the target computes with bytes (see `PrecisionPlan`).
    """

    def __init__(
        self,
        hub: ir.Model,
        statistics: Mapping[str, Statistics],
        *,
        activations: Bytes = "u8",
        paired: bool = False,
    ) -> None:
        self._hub, self._statistics = hub, statistics
        self._activations: Bytes = activations
        self._paired = paired
        self._rounded: dict[str, QuantisedWeight] = {}
        self._smoothing: dict[tuple[frozenset[str], frozenset[str]], dict[str, tuple[float, ...]]] = {}

    def plan(self, recipe: Recipe = STATIC, *, kinds: tuple[str, ...], rest: Precision) -> PrecisionPlan:
        """Every operation of these kinds in int8 or fp8 as the recipe says, the rest in `rest`.

        Raises `CalibrationError` if calibration has not seen an activation.
        """
        chosen = [entry for entry in operations(self._hub) if entry.kind in kinds and entry.name not in recipe.unquantised]
        missing = sorted({operation.activation for operation in chosen} - set(self._statistics))
        if missing:
            raise CalibrationError("Calibration gave no range for some activations.", evidence=missing[:8])
        scales = self._scales(recipe)
        seen = {operation.activation: self._statistics[operation.activation] for operation in chosen}
        seen |= {name: seen[name].scaled(np.asarray(scale, np.float32)) for name, scale in scales.items() if name in seen}
        static: Precision = "fp8" if self._activations == "fp8" else "int8"
        wider = headroom(self._activations)
        plan = PrecisionPlan(
            static,
            rest,
            operations={entry.name: "int8-per-token" if entry.name in recipe.per_token else static for entry in chosen},
            ranges={name: entry.range.widened(wider) for name, entry in seen.items()},
            smoothing=scales,
            activations=self._activations,
            paired=self._paired,
        )
        linear = [
            operation
            for operation in operations(smoothed(self._hub, plan))
            if operation.name in plan.operations and operation.kind == "linear"
        ]
        if static == "int8":  # E4M3 rounds to the nearest: most of its error is where integers have none
            plan = replace(plan, weights=self._weights(linear, seen, scales))
        return replace(plan, corrections=_corrections(linear, seen, plan))

    def _scales(self, recipe: Recipe) -> dict[str, tuple[float, ...]]:
        """The scales of smoothing, which depend on the recipe but not on the runtime."""
        key = recipe.per_token, recipe.unquantised
        if key not in self._smoothing:
            self._smoothing[key] = search_smoothing(
                self._hub,
                self._statistics,
                per_token=recipe.per_token,
                unquantised=recipe.unquantised,
                activations=self._activations,
                paired=self._paired,
            )
        return self._smoothing[key]

    def _weights(
        self,
        linear: Iterable[Operation],
        seen: Mapping[str, Statistics],
        scales: Mapping[str, tuple[float, ...]],
    ) -> dict[str, QuantisedWeight]:
        factors: dict[tuple[str, bool], NDArray[np.float32]] = {}
        rounded = {}
        for operation in linear:
            weight = operation.weights
            # The weight is part of the key because smoothing behind it scales its output channels.
            key = hashlib.sha256(weight.tobytes() + np.asarray(scales.get(operation.activation, ())).tobytes()).hexdigest()
            if key not in self._rounded:
                # A bias corrects the error of the mean: then only the error about the mean matters.
                centred = bias_add(operation.node) is not None
                factor_key = operation.activation, centred
                if factor_key not in factors:
                    entry = seen[operation.activation]
                    factors = {factor_key: compensation(entry.covariance if centred else entry.moments)}
                self._rounded[key] = QuantisedWeight(*round_weight(weight, factors[factor_key], paired=self._paired))
            rounded[operation.name] = self._rounded[key]
        return rounded


def int8_plan(
    hub: ir.Model,
    statistics: Mapping[str, Statistics],
    recipe: Recipe = STATIC,
    *,
    kinds: tuple[str, ...],
    rest: Precision,
    activations: Bytes = "u8",
    paired: bool = False,
) -> PrecisionPlan:
    """One plan by a recipe, as `Planner.plan` makes it."""
    return Planner(hub, statistics, activations=activations, paired=paired).plan(recipe, kinds=kinds, rest=rest)


def _corrections(
    linear: Iterable[Operation], statistics: Mapping[str, Statistics], plan: PrecisionPlan
) -> dict[str, tuple[float, ...]]:
    """The mean error of each product's outputs, for products with a bias that can be corrected by it.

    The part that rounded weights cause is exact, from the activation's mean over all frames. The part that rounding a static
    activation causes is estimated on the sampled rows, and shrunk by the share of the estimate that sampling alone would explain.
    """
    corrections = {}
    for operation in linear:
        if bias_add(operation.node) is None:
            continue
        weight = quantised_weight(operation, plan)
        rounded = weight.restored()
        seen = statistics[operation.activation]
        correction = seen.mean @ (operation.weights - rounded)
        if plan.precision_of(operation.name) in CALIBRATED:
            loss = (seen.rows - quantise_static(seen.rows, plan.ranges[operation.activation], plan.activations)) @ rounded
            mean, noise = loss.mean(axis=0), loss.var(axis=0) / len(loss)
            correction = correction + mean * np.clip(1 - noise / np.maximum(mean**2, 1e-30), 0, 1)
        corrections[operation.name] = tuple(float(value) for value in correction)
    return corrections
