"""Which runtimes and precisions a build tries, and which it leaves out, with the reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import onnx_ir as ir

from edgec.backends.candidate import Candidate
from edgec.errors import TargetError
from edgec.graph.plan import Precision
from edgec.lowering.base import Lowering
from edgec.precision.recipes import measured_recipes, quick_recipes, rule_recipes

Asked = Literal["auto", "fp32", "fp16", "bf16", "int8", "w8", "w6", "w4"]
PALETTES = ("w6", "w4")
"""Weights in lookup tables: nobody knows of a device that they make faster, and they cost features. They save space."""


def offered_pairs(
    asked: Asked, offered: Sequence[tuple[str, Precision]], *, palettes: bool = False
) -> tuple[tuple[str, Precision], ...]:
    """The pairs of runtime and precision to try: everything that the target offers, or the precision that was asked for. Of
    what nobody asked for by name, lookup tables only where `palettes` says so.

    Raises `TargetError` if the target does not offer it.
    """
    pairs = tuple(pair for pair in offered if pair[1] == asked or (asked == "auto" and (palettes or pair[1] not in PALETTES)))
    if not pairs:
        known = ", ".join(dict.fromkeys(precision for _, precision in offered))
        raise TargetError(
            f"This target does not offer {asked}.",
            evidence=f"it offers: {known}",
            remedy=f"use --precision auto, or one of {known}, or another target (`edgec targets`)",
        )
    return pairs


def attempts(
    hub: ir.Model,
    pairs: Sequence[tuple[str, Precision]],
    lowerings: Mapping[str, Lowering],
    sensitivity: Mapping[str, float],
    *,
    dot_product: bool,
    remote: bool = False,
) -> tuple[Candidate, ...]:
    """What to try for each pair: one thing, or for int8 one a recipe; `sensitivity`, where it was measured, gives more.

    `dot_product`: whether the target sums products of bytes in 32 bits. Without that no runtime computes per token in int8: they
    unpack the weights and multiply in float, which is int8 in the files alone. `remote`: whether the target is another machine,
    which gets static int8 whole: nothing here can measure what an exception costs there.
    """
    tried: list[Candidate] = []
    for runtime, precision in pairs:
        lowering, name = lowerings[runtime], f"{runtime}-{precision}"
        availability = lowering.availability()
        if not availability.available:
            tried.append(Candidate(name, runtime, precision, problem=f"not installed: {availability.install}"))
        elif precision not in lowering.precisions:
            tried.append(Candidate(name, runtime, precision, problem=f"{lowering.title} has no fast {precision} on CPUs"))
        elif precision == "int8":
            per_token = lowering.per_token and dot_product
            recipes = rule_recipes(hub, per_token=per_token)
            if sensitivity:
                recipes += (*quick_recipes(hub, per_token=per_token), *measured_recipes(hub, sensitivity, per_token=per_token))
            elif not remote:
                recipes = quick_recipes(hub, per_token=per_token)
            recipes = tuple(dict.fromkeys(recipes))
            tried += [Candidate(f"{name}-{recipe.variant}", runtime, precision, recipe) for recipe in recipes]
        else:
            tried.append(Candidate(name, runtime, precision))
    return tuple(tried)


def rest_of(offered: Collection[str], lowering: Lowering) -> Precision:
    """What the other operations of an int8 plan run in: the half-sized floats that both target and runtime have, else fp32."""
    halves: tuple[Precision, ...] = ("fp16", "bf16")
    return next((half for half in halves if half in offered and half in lowering.precisions), "fp32")
