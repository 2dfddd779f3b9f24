"""A board measures and chooses for itself: here it is only said what it tries first."""

from __future__ import annotations

from collections.abc import Sequence

from edgec.backends.choosing import EXACTNESS, Choice, kept_words, loses, within
from edgec.fidelity.budget import Budget
from edgec.records.report import CandidateFigures


def choose_unmeasured(candidates: Sequence[CandidateFigures], budget: Budget) -> Choice:
    """Where nothing can be measured, what a board tries first: the lowest precision within the budget.

    Raises `RuntimeFailure` if no candidate ran, `FidelityError` if none keeps the features.
    """
    ran = [candidate for candidate in candidates if candidate.fidelity and not candidate.problem]
    kept = within(ran, candidates, budget)
    stands = max(kept, key=lambda candidate: EXACTNESS.index(candidate.precision))  # of several int8 the first
    others = {candidate.precision for candidate in kept} - {stands.precision}
    after = f", then {' and '.join(sorted(others, key=EXACTNESS.index, reverse=True))}" if others else ""
    reason = (
        f"{stands.name} is what a board tries first{after}; {kept_words(stands, budget)}, simulated here. "
        "The board measures, and keeps the fastest that reproduces the features"
    )
    lost = [loses(each, budget) for each in ran if each not in kept]
    return Choice(stands, "; ".join([reason, *lost]) + ".")
