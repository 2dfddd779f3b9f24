"""INT8 must pay: which candidate ships, and the sentence that says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgec.errors import FidelityError, RuntimeFailure
from edgec.fidelity.metrics import worst
from edgec.report.schema import Candidate

ORDER = ("fp32", "bf16", "fp16", "int8")
"""From the most exact to the least."""
MARGIN = 0.02
"""How much faster, as a share, a less exact candidate must be: less than this is noise on most machines."""


@dataclass(frozen=True)
class Choice:
    candidate: Candidate
    reason: str


def choose(candidates: Sequence[Candidate], min_fidelity: float) -> Choice:
    """Going from the most exact precision to the least, each step must be within the budget and faster than what stands.

    Raises `RuntimeFailure` if no candidate ran, `FidelityError` if none that ran keeps the features.
    """
    ran = [candidate for candidate in candidates if candidate.fidelity and candidate.latency]
    if not ran:
        raise RuntimeFailure(
            "No candidate could be run.",
            evidence=[f"{candidate.name}: {candidate.problem}" for candidate in candidates],
            remedy="see `edgec doctor`",
        )
    kept = [candidate for candidate in ran if _fidelity(candidate) >= min_fidelity]
    if not kept:
        best = max(ran, key=_fidelity)
        raise FidelityError(
            f"No candidate keeps the features within --min-fidelity {min_fidelity:g}.",
            evidence=[f"{candidate.name}: {_fidelity(candidate):.6f}" for candidate in ran],
            remedy=f"use --precision auto, calibrate on more and truer frames, or accept --min-fidelity {_fidelity(best):.4f}",
        )
    kept.sort(key=lambda candidate: (ORDER.index(candidate.precision), _p50(candidate)))
    stands = kept[0]
    for candidate in kept[1:]:
        gain = 1 - _p50(candidate) / _p50(stands)
        if gain > (0.0 if candidate.precision == stands.precision else MARGIN):
            stands = candidate
    return Choice(stands, _reason(stands, ran, min_fidelity))


def _reason(stands: Candidate, ran: Sequence[Candidate], min_fidelity: float) -> str:
    parts = [f"{stands.name} is the fastest candidate that keeps the features: {_p50(stands):.2f} ms at the median"]
    exact = [candidate for candidate in ran if candidate.precision == "fp32" and candidate is not stands]
    if exact and stands.precision != "fp32":
        parts[0] += f", {min(map(_p50, exact)) / _p50(stands):.2f}x as fast as the best fp32"
    parts[0] += f", worst cosine {_fidelity(stands):.4f} of {min_fidelity:g} asked"
    for candidate in ran:
        if ORDER.index(candidate.precision) <= ORDER.index(stands.precision) or candidate is stands:
            continue
        if _fidelity(candidate) < min_fidelity:
            parts.append(f"{candidate.name} loses the features ({_fidelity(candidate):.4f})")
        elif _p50(candidate) > (1 - MARGIN) * _p50(stands):
            parts.append(f"{candidate.name} does not pay ({_p50(candidate):.2f} ms)")
    return "; ".join(parts) + "."


def _fidelity(candidate: Candidate) -> float:
    assert candidate.fidelity is not None
    return worst(candidate.fidelity)


def _p50(candidate: Candidate) -> float:
    assert candidate.latency is not None
    return candidate.latency.p50_ms
