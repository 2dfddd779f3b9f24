"""Which runtimes and precisions a build tries, and which it leaves out, with the reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from edgec.backends.candidate import Candidate
from edgec.errors import TargetError
from edgec.graph.plan import Precision
from edgec.lowering.base import Lowering
from edgec.lowering.forms import ManyForms

if TYPE_CHECKING:
    import onnx_ir as ir

PrecisionChoice = Literal["auto", "fp32", "fp16", "bf16", "int8", "fp8", "w8", "w6", "w4"]
PALETTES = ("w6", "w4")
"""Weights in lookup tables: they save space, but lose some of the features, and are not known to be faster on any device."""


def offered_pairs(
    requested: PrecisionChoice, offered: Sequence[tuple[str, Precision]], *, palettes: bool = False
) -> tuple[tuple[str, Precision], ...]:
    """The pairs of runtime and precision to try: all that the target offers, or those of the precision that was requested.
    `auto` includes lookup tables only with `palettes`.

    Raises `TargetError` if the target does not offer the precision.
    """
    pairs = tuple(
        pair for pair in offered if pair[1] == requested or (requested == "auto" and (palettes or pair[1] not in PALETTES))
    )
    if not pairs:
        known = ", ".join(dict.fromkeys(precision for _, precision in offered))
        raise TargetError(
            f"This target does not offer {requested}.",
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
    per_token: Collection[str],
) -> tuple[Candidate, ...]:
    """The candidates of each pair: one, or for int8 one for each recipe; a measured `sensitivity` adds recipes.

    `per_token` names the runtimes that compute per token in int8 on the target (`Int8Rules`).
    """
    # Looking a request up needs `offered_pairs` alone, and must not wait for onnx-ir.
    from edgec.precision.recipes import STATIC, measured_recipes, quick_recipes, rule_recipes

    tried: list[Candidate] = []
    for runtime, precision in pairs:
        lowering, name = lowerings[runtime], f"{runtime}-{precision}"
        availability = lowering.availability()
        if not availability.available:
            tried.append(Candidate(name, runtime, precision, problem=f"not installed: {availability.install}"))
        elif precision not in (*lowering.precisions, *lowering.elsewhere):
            tried.append(Candidate(name, runtime, precision, problem=f"{lowering.title} has no fast {precision} on CPUs"))
        elif precision == "fp8":
            # The last products may stay: E4M3's error is that of its mantissa, on any scene, and with attention in it the worst
            # patches of a ViT-S/16 lose as much with them in fp16 (.9985 against .9983).
            tried.append(Candidate(f"{name}-{STATIC.variant}", runtime, precision, recipe=STATIC))
        elif precision == "int8":
            tokens = lowering.per_token and runtime in per_token
            recipes = quick_recipes(hub, per_token=tokens)
            if sensitivity:
                recipes += rule_recipes(hub, per_token=tokens)
                recipes += measured_recipes(hub, sensitivity, per_token=tokens)
            recipes = tuple(dict.fromkeys(recipes))
            plain = [Candidate(f"{name}-{recipe.variant}", runtime, precision, recipe=recipe) for recipe in recipes]
            tried += [form for candidate in plain for form in (candidate, *other_forms(candidate, lowering))]
        else:
            tried.append(Candidate(name, runtime, precision))
    return tuple(tried)


def other_forms(candidate: Candidate, lowering: Lowering) -> tuple[Candidate, ...]:
    """The candidate again, once for each other form that its runtime has for the precision."""
    forms = lowering.forms.get(candidate.precision, ()) if isinstance(lowering, ManyForms) else ()
    return tuple(replace(candidate, name=f"{candidate.name}-{form}", form=form) for form in forms)


def rest_of(offered: Collection[str], lowering: Lowering) -> Precision:
    """What the other operations of an int8 plan run in: the first 16-bit float that both target and runtime have, else fp32."""
    halves: tuple[Precision, ...] = ("fp16", "bf16")
    return next((half for half in halves if half in offered and half in lowering.precisions), "fp32")
