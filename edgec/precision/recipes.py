"""Which operations leave static int8: by rule (none, all, a mixture), or by what each was measured to cost.

A norm's output, once smoothed, fits one static range well, and a static range is quantised once for all products that read it.
What attention mixes and what an MLP's activation function leaves can hold massive tokens that no weight can smooth: there a
range for each token keeps the others' resolution. The mixture takes each where it is better.

The last products that add to the residual stream can stay in the plan's other type instead: what they lose arrives in the
features as it is, and late in a ViT it is largest. (ViT-S/16: six of 72 products, a tenth of the multiply-accumulates, made 48 %
of what static int8 cost; the six that measuring finds, 53 %.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgec.graph.operations import Operation, operations
from edgec.graph.passes.smooth import groups
from edgec.graph.residual import residual_writers

SHARES = (0.08, 0.16, 0.33)
"""Shares of all products that leave static int8 in the measured recipes; the first is also that of `tail_recipe`."""


@dataclass(frozen=True)
class Recipe:
    """A choice of operations that leave static int8, and the reason: `per_token` run in int8 per token, `unquantised` in the
    plan's other type."""

    variant: str
    per_token: frozenset[str] = frozenset()
    unquantised: frozenset[str] = frozenset()
    reason: str = ""


STATIC = Recipe("static")


def tail_recipe(hub: ir.Model) -> Recipe:
    """Static int8 except for the last products that add to the residual stream; static if none does."""
    linear = {operation.name for operation in operations(hub) if operation.kind == "linear"}
    writers = [name for name in residual_writers(hub) if name in linear]
    count = max(1, round(SHARES[0] * len(linear)))
    if len(writers) <= count:
        return STATIC
    reason = "among the last products that add to the residual stream: what they lose arrives in the features as it is"
    return Recipe(f"but-last-{count}", unquantised=frozenset(writers[-count:]), reason=reason)


def rule_recipes(hub: ir.Model, *, per_token: bool) -> tuple[Recipe, ...]:
    """The recipes that need no measurement, from the fastest to the most faithful: only static if the runtime has no int8 per
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


def quick_recipes(hub: ir.Model, *, per_token: bool) -> tuple[Recipe, ...]:
    """The rules that a quick build tries: what each costs to lower, verify and measure decides how many there can be.

    Where products run per token, all of them per token are left out: slower than the mixture, and than bfloat16 where the CPU has
    it (ViT-S/16, AMX: 19.8 ms, the mixture 16.9, bfloat16 16.0, static 13.2). Where none does, static goes too: the tail costs a
    tenth of the work and saves half of what static loses.
    """
    if not per_token:
        return (tail_recipe(hub),)
    static, *tokens = rule_recipes(hub, per_token=True)
    return tuple(dict.fromkeys((static, tail_recipe(hub), *tokens[:1])))


def measured_recipes(hub: ir.Model, sensitivity: Mapping[str, float], *, per_token: bool) -> tuple[Recipe, ...]:
    """Recipes that take operations out of static int8, first a few and then more: those that lose most in relation to what taking
    them out costs."""
    entries = operations(hub)
    linear = {entry.name for entry in entries if entry.kind == "linear"}
    order = ranked(entries, {name: lost for name, lost in sensitivity.items() if name in linear}, tokens=per_token)
    recipes = []
    for share in SHARES:
        count = max(1, round(share * len(order)))
        taken = frozenset(order[:count])
        reason = f"among the {count} operations that lose most features for their cost"
        if per_token:
            recipes.append(Recipe(f"tokens-{count}", per_token=taken, reason=reason))
        else:
            recipes.append(Recipe(f"but-{count}", unquantised=taken, reason=reason))
    return tuple(recipes)


def ranked(entries: Sequence[Operation], lost: Mapping[str, float], *, tokens: bool) -> tuple[str, ...]:
    """Names of operations, ordered by what they lose in static int8 over what it costs to take them out of it, the most first.

    The cost of a range for each token is taken to grow with the activation's size, that of another type with the product's.
    """
    cost = {entry.name: entry.activation_size if tokens else entry.macs for entry in entries}
    return tuple(sorted(lost, key=lambda name: lost[name] / cost[name], reverse=True))
