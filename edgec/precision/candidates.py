"""Which runtimes and precisions a build tries, and which it leaves out, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import onnx

from edgec.errors import TargetError
from edgec.graph.statistics import Statistics
from edgec.lowering.base import Lowering
from edgec.precision.plan import Precision, PrecisionPlan
from edgec.precision.recipes import Recipe, int8_plan, measured_recipes, rule_recipes
from edgec.precision.static import uniform

Asked = Literal["auto", "fp32", "bf16", "int8"]


@dataclass(frozen=True)
class CandidatePlan:
    """`plan` is None for a candidate that cannot be, and `problem` says why."""

    name: str
    runtime: str
    precision: str
    plan: PrecisionPlan | None
    recipe: Recipe | None = None
    problem: str = ""


def wanted(asked: Asked, offered: Sequence[tuple[str, Precision]]) -> tuple[tuple[str, Precision], ...]:
    """The pairs of runtime and precision to try: everything that the target offers, or the precision that was asked for.

    Raises `TargetError` if the target does not offer it.
    """
    pairs = tuple(pair for pair in offered if asked in ("auto", pair[1]))
    if not pairs:
        known = ", ".join(dict.fromkeys(precision for _, precision in offered))
        raise TargetError(
            f"This target does not offer {asked}.",
            evidence=f"it offers: {known}",
            remedy=f"use --precision auto, or one of {known}, or another target (`edgec targets`)",
        )
    return pairs


def candidate_plans(
    hub: onnx.ModelProto,
    pairs: Sequence[tuple[str, Precision]],
    lowerings: Mapping[str, Lowering],
    statistics: Mapping[str, Statistics],
    sensitivity: Mapping[str, float],
    *,
    rest: Precision,
    activations: Literal["u8", "s8"],
    weight_bits: int,
) -> tuple[CandidatePlan, ...]:
    """The plans for each pair: one, or for int8 one a recipe; `sensitivity`, where it was measured, gives more. `rest` is what
    an int8 plan's other operations run in, where the runtime can; the last two are the target's ways with bytes."""
    found = []
    for runtime, precision in pairs:
        lowering, name = lowerings[runtime], f"{runtime}-{precision}"
        availability = lowering.availability()
        if not availability.available:
            found.append(CandidatePlan(name, runtime, precision, None, problem=f"not installed: {availability.install}"))
        elif precision not in lowering.precisions:
            found.append(
                CandidatePlan(name, runtime, precision, None, problem=f"{lowering.title} has no fast {precision} on CPUs")
            )
        elif precision == "int8":
            recipes = rule_recipes(hub, per_token=lowering.per_token)
            if sensitivity:
                recipes += measured_recipes(hub, sensitivity, per_token=lowering.per_token)
            for recipe in recipes:
                plan = int8_plan(
                    hub,
                    statistics,
                    recipe,
                    kinds=lowering.int8_kinds,
                    rest=rest if rest in lowering.precisions else "fp32",
                    activations=activations,
                    weight_bits=weight_bits,
                )
                found.append(CandidatePlan(f"{name}-{recipe.variant}", runtime, precision, plan, recipe))
        else:
            found.append(CandidatePlan(name, runtime, precision, uniform(precision)))
    return tuple(found)
