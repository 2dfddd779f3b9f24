"""Which operations leave static int8: by rule (none, all, a mixture), or by what each was measured to cost.

A norm's output, once smoothed, fits one static range well, and a static range is quantised once for all products that read it.
What attention mixes and what an MLP's activation function leaves can hold massive tokens that no weight can smooth: there a
range for each token keeps the others' resolution. The mixture takes each where it is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from edgec.graph.operations import operations
from edgec.graph.passes.smooth import groups

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
    normed = {group.activation for group in groups(hub) if group.kind == "norm"}
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
