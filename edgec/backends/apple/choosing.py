"""Core ML runs on Apple's devices alone: a package is chosen by what is known of their chips, not by what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from edgec.backends.apple.profile import AppleProfile
from edgec.backends.choosing import Choice, kept_words, loses, within
from edgec.fidelity.budget import Budget
from edgec.records.report import CandidateFigures


def order(devices: Sequence[AppleProfile]) -> tuple[str, ...]:
    """The order in which chips of Apple's should be given precisions while nobody has measured: W8A8 first where it pays on all
    of them. Weights in 8 bits halve what is stored and moved, and cost next to nothing of the features; in fewer bits they cost
    more, and a float32 package cannot use the Neural Engine at all."""
    pays = all(device.apple.w8a8_pays for device in devices)
    return (*(("int8",) if pays else ()), "w8", "fp16", *(() if pays else ("int8",)), "w6", "w4", "fp32")


def choose_first(candidates: Sequence[CandidateFigures], budget: Budget, order: Sequence[str]) -> Choice:
    """Where nothing can be measured, of the candidates within the budget the first in this order of precisions.

    Raises `RuntimeFailure` if no candidate ran, `FidelityError` if none keeps the features.
    """
    ran = [candidate for candidate in candidates if candidate.fidelity and not candidate.problem]
    kept = within(ran, candidates, budget)
    stands = min(kept, key=lambda candidate: order.index(candidate.precision))  # of several int8 the first
    reason = (
        f"{stands.name} comes first in the target's order ({', '.join(order)}), no latency being known here; "
        f"{kept_words(stands, budget)}, simulated here"
    )
    lost = [loses(each, budget) for each in ran if each not in kept]
    return Choice(stands, "; ".join([reason, *lost]) + ".")
