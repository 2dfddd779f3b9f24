"""Core ML runs on Apple's devices alone: a package is chosen by what is known of their chips, not by what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from edgec.backends.apple.profile import AppleProfile
from edgec.backends.choosing import Choice, describe_kept, describe_loss, within
from edgec.fidelity.budget import Budget
from edgec.records.report import CandidateFigures


def order(devices: Sequence[AppleProfile]) -> tuple[str, ...]:
    """Precisions in the order in which they should be tried on these chips while nobody has measured: W8A8 first if it pays on
    all of them. Weights in 8 bits halve what is stored and moved, and cost the features next to nothing; in fewer bits they cost
    more. A float32 package cannot use the Neural Engine at all."""
    pays = all(device.apple.w8a8_pays for device in devices)
    return (*(("int8",) if pays else ()), "w8", "fp16", *(() if pays else ("int8",)), "w6", "w4", "fp32")


def choose_first(candidates: Sequence[CandidateFigures], budget: Budget, order: Sequence[str]) -> Choice:
    """The candidate within the budget whose precision comes first in `order`: for targets where nothing can be measured.

    Raises `RuntimeFailure` if no candidate ran, `FidelityError` if none keeps the features.
    """
    ran = [candidate for candidate in candidates if candidate.fidelity and not candidate.problem]
    within_budget = within(ran, candidates, budget)
    chosen = min(within_budget, key=lambda candidate: order.index(candidate.precision))  # of several int8 the first
    reason = (
        f"{chosen.name} comes first in the target's order ({', '.join(order)}), no latency being known here; "
        f"{describe_kept(chosen, budget)}, simulated here"
    )
    lost = [describe_loss(candidate, budget) for candidate in ran if candidate not in within_budget]
    return Choice(chosen, "; ".join([reason, *lost]) + ".")
