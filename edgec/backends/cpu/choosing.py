"""INT8 must pay: of candidates that were measured here, which one ships, and the sentence that says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgec.backends.choosing import EXACTNESS, Choice, fidelity_of, keeps, kept_words, loses, within
from edgec.fidelity.budget import Budget
from edgec.records.report import CandidateFigures

NEAR = 0.08
"""A candidate that is slower than the fastest by no more than this share may ship in its place: machines differ from one
another by more."""
WORTH = 0.75
"""It must then lose at most this share of what the faster one loses of the features (of 1 minus the worst cosine)."""
IN_QUESTION = 0.16
"""After a first heat, whose medians are rough, a candidate that is slower than the fastest by more than this is out."""


def finalists(candidates: Sequence[CandidateFigures], budget: Budget, medians: Mapping[int, float]) -> set[int]:
    """Of candidates with these medians so far, by their places, those that `choose` may still choose."""
    kept = {place: p50 for place, p50 in medians.items() if keeps(candidates[place], budget)}
    return {place for place, p50 in kept.items() if p50 <= min(kept.values()) * (1 + IN_QUESTION)}


def choose(candidates: Sequence[CandidateFigures], budget: Budget) -> Choice:
    """Of the candidates within the budget the fastest, or one that is nearly as fast and loses much less of the features.

    Raises `RuntimeFailure` if no candidate ran, `FidelityError` if none that ran keeps the features.
    """
    ran = [candidate for candidate in candidates if candidate.fidelity and candidate.latency]
    kept = within(ran, candidates, budget)
    kept.sort(key=lambda candidate: (_p50(candidate), EXACTNESS.index(candidate.precision), _lost(candidate), candidate.name))
    stands = kept[0]
    for candidate in kept[1:]:
        near = _p50(candidate) <= _p50(kept[0]) * (1 + NEAR)
        if near and _lost(candidate) < _lost(stands) and _lost(candidate) <= WORTH * _lost(stands):
            stands = candidate
    return Choice(stands, _reason(stands, ran, budget))


def _reason(stands: CandidateFigures, ran: Sequence[CandidateFigures], budget: Budget) -> str:
    first = f"{stands.name} takes {_p50(stands):.2f} ms at the median"
    exact = [_p50(candidate) for candidate in ran if candidate.precision == "fp32" and candidate is not stands]
    if exact and stands.precision != "fp32":
        first += f", {min(exact) / _p50(stands):.2f}x as fast as the best fp32"
    parts = [f"{first}; {kept_words(stands, budget)}"]
    for candidate in ran:
        if candidate is stands:
            continue
        if not keeps(candidate, budget):
            parts.append(loses(candidate, budget))
        elif _p50(candidate) < _p50(stands):
            gain = 1 - _p50(candidate) / _p50(stands)
            parts.append(f"{candidate.name} is {gain:.1%} faster and less faithful ({fidelity_of(candidate):.5f})")
        elif candidate.precision == "int8" and stands.precision != "int8":
            parts.append(f"{candidate.name} does not pay ({_p50(candidate):.2f} ms)")
    return "; ".join(parts) + "."


def _lost(candidate: CandidateFigures) -> float:
    return 1 - fidelity_of(candidate)


def _p50(candidate: CandidateFigures) -> float:
    assert candidate.latency is not None
    return candidate.latency.p50_ms
