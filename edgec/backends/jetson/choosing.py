"""A board measures and chooses for itself: what is chosen here is only what it tries first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgec.backends.choosing import EXACTNESS, Choice, describe_kept, describe_loss, within
from edgec.fidelity.budget import Budget
from edgec.lowering.tensorrt.lowering import VARIANTS, TensorRt, variant_name
from edgec.records.report import CandidateFigures


def choose_unmeasured(
    candidates: Sequence[CandidateFigures], budget: Budget, everywhere: Callable[[str], bool] = lambda precision: True
) -> Choice:
    """The lowest precision within the budget that all boards have (`everywhere`): what a board tries first, since nothing can be
    measured here. If there is none, the lowest that any has.

    Raises `RuntimeFailure` if no candidate ran, `FidelityError` if none keeps the features.
    """
    ran = [candidate for candidate in candidates if candidate.fidelity and not candidate.problem]
    within_budget = within(ran, candidates, budget)
    shared = [each for each in within_budget if everywhere(each.precision)]
    first = max(shared or within_budget, key=lambda candidate: EXACTNESS.index(candidate.precision))  # of several int8 the first
    others = {variant_of(candidate) for candidate in within_budget} - {variant_of(first)}
    after = f", then {_listed(sorted(others, key=VARIANTS.index))}" if others else ""
    reason = (
        f"{first.name} is what a board tries first{after}; {describe_kept(first, budget)}, simulated here. "
        "The board measures, and keeps the fastest that reproduces the features"
    )
    lost = [describe_loss(candidate, budget) for candidate in ran if candidate not in within_budget]
    return Choice(first, "; ".join([reason, *lost]) + ".")


def variant_of(candidate: CandidateFigures) -> str:
    """What a board calls its graph: precision and form (`edgec.backends.candidate.Candidate.variant`), of which a report has the
    form at the end of the name alone."""
    forms = TensorRt.forms.get(candidate.precision, ())
    return variant_name(candidate.precision, next((form for form in forms if candidate.name.endswith(f"-{form}")), ""))


def _listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
