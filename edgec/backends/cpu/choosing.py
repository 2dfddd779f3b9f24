"""INT8 must pay: which of the candidates that were measured here ships, and the sentence that says why. For another machine than
this one, what it tries first: it measures and chooses for itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from edgec.backends.choosing import EXACTNESS, Choice, describe_kept, describe_loss, keeps, lost, within
from edgec.backends.cpu.profile import Counts, CpuProfile
from edgec.fidelity.budget import Budget
from edgec.records.report import CandidateFigures

NEAR = 0.08
"""A candidate that is slower than the fastest by at most this share may ship instead: machines differ by more than that."""
WORTH = 0.75
"""Such a candidate must lose at most this share of what the faster one loses (1 minus the worst cosine)."""
IN_QUESTION = 0.16
"""After the first round, whose medians are rough, a candidate that is slower than the fastest by more than this is out."""


def finalists(candidates: Sequence[CandidateFigures], budget: Budget, medians: Mapping[int, float]) -> set[int]:
    """Indices of the candidates that `choose` may still choose. `medians` are their median latencies so far, by index."""
    suitable = {index: p50 for index, p50 in medians.items() if keeps(candidates[index], budget)}
    return {index for index, p50 in suitable.items() if p50 <= min(suitable.values()) * (1 + IN_QUESTION)}


def choose(candidates: Sequence[CandidateFigures], budget: Budget) -> Choice:
    """Of the candidates within the budget the fastest, or one that is nearly as fast and loses much less of the features.

    Raises `RuntimeFailure` if no candidate ran, `FidelityError` if none that ran keeps the features.
    """
    ran = [candidate for candidate in candidates if candidate.fidelity and candidate.latency]
    suitable = within(ran, candidates, budget)
    suitable.sort(key=lambda candidate: (_p50(candidate), EXACTNESS.index(candidate.precision), lost(candidate), candidate.name))
    chosen = suitable[0]
    for candidate in suitable[1:]:
        near = _p50(candidate) <= _p50(suitable[0]) * (1 + NEAR)
        if near and lost(candidate) < lost(chosen) and lost(candidate) <= WORTH * lost(chosen):
            chosen = candidate
    return Choice(chosen, _reason(chosen, ran, budget))


def choose_unmeasured(
    candidates: Sequence[CandidateFigures], budget: Budget, profile: CpuProfile, counts: Counts | None, size: str
) -> Choice:
    """Of the candidates within the budget what the target tries first, since latencies of another machine say nothing: that with
    the fewest instructions where the profile has `counts` of the model, at frames of this `size` or another; else the least exact
    whose runtime the profile names first.

    Raises `RuntimeFailure` if no candidate ran, `FidelityError` if none that ran keeps the features.
    """
    ran = [candidate for candidate in candidates if candidate.fidelity and not candidate.problem]
    suitable = within(ran, candidates, budget)
    counted: Mapping[str, int] = {} if counts is None else counts.million_instructions

    def order(candidate: CandidateFigures) -> tuple[float, int, int, float, str]:
        named = profile.candidates.index((candidate.runtime, candidate.precision))
        millions = counted.get(candidate.name, math.inf)
        return millions, -EXACTNESS.index(candidate.precision), named, lost(candidate), candidate.name

    first = min(suitable, key=order)
    beyond = [describe_loss(candidate, budget) for candidate in ran if candidate not in suitable]
    along = f"{len(suitable)} candidates go along" if len(suitable) > 1 else "it goes alone"
    millions = counted.get(first.name)
    at = f" of {counts.size}" if counts is not None and counts.size != size else ""
    fewest = (
        f" (of those counted it executes the fewest instructions, {millions} million a frame{at}, emulated)" if millions else ""
    )
    reason = (
        f"undecided: {first.name} is what {profile.title} tries first{fewest}; "
        f"{describe_kept(first, budget)}. Latencies of this machine "
        f"say nothing about another; {along}, and the target keeps the fastest that reproduces the features"
    )
    return Choice(first, "; ".join([reason, *beyond]) + ".")


def _reason(chosen: CandidateFigures, ran: Sequence[CandidateFigures], budget: Budget) -> str:
    first = f"{chosen.name} takes {_p50(chosen):.2f} ms at the median"
    exact = [_p50(candidate) for candidate in ran if candidate.precision == "fp32" and candidate is not chosen]
    if exact and chosen.precision != "fp32":
        first += f", {min(exact) / _p50(chosen):.2f}x as fast as the best fp32"
    parts = [f"{first}; {describe_kept(chosen, budget)}"]
    for candidate in ran:
        if candidate is chosen:
            continue
        if not keeps(candidate, budget):
            parts.append(describe_loss(candidate, budget))
        elif _p50(candidate) < _p50(chosen):
            gain = 1 - _p50(candidate) / _p50(chosen)
            parts.append(f"{candidate.name} is {gain:.1%} faster and less faithful ({1 - lost(candidate):.5f})")
        elif candidate.precision == "int8" and chosen.precision != "int8":
            parts.append(f"{candidate.name} does not pay ({_p50(candidate):.2f} ms)")
    return "; ".join(parts) + "."


def _p50(candidate: CandidateFigures) -> float:
    assert candidate.latency is not None
    return candidate.latency.p50_ms
