"""INT8 must pay: which candidate ships, and the sentence that says why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgec.errors import FidelityError, RuntimeFailure
from edgec.fidelity.budget import Budget
from edgec.fidelity.metrics import worst
from edgec.records.report import Candidate

EXACTNESS = ("fp32", "bf16", "fp16", "w8", "int8", "w6", "w4")
"""Between candidates that are equal otherwise, the first of these ships."""
NEAR = 0.08
"""A candidate that is slower than the fastest by no more than this share may ship in its place: machines differ from one
another by more."""
WORTH = 0.75
"""It must then lose at most this share of what the faster one loses of the features (of 1 minus the worst cosine)."""
IN_QUESTION = 0.16
"""After a first heat, whose medians are rough, a candidate that is slower than the fastest by more than this is out."""


@dataclass(frozen=True)
class Choice:
    candidate: Candidate
    reason: str


def finalists(candidates: Sequence[Candidate], budget: Budget, medians: Mapping[int, float]) -> set[int]:
    """Of candidates with these medians so far, by their places, those that `choose` may still choose."""
    kept = {place: p50 for place, p50 in medians.items() if _keeps(candidates[place], budget)}
    return {place for place, p50 in kept.items() if p50 <= min(kept.values()) * (1 + IN_QUESTION)}


def choose(candidates: Sequence[Candidate], budget: Budget) -> Choice:
    """Of the candidates within the budget the fastest, or one that is nearly as fast and loses much less of the features.

    Raises `RuntimeFailure` if no candidate ran, `FidelityError` if none that ran keeps the features.
    """
    ran = [candidate for candidate in candidates if candidate.fidelity and candidate.latency]
    kept = _within(ran, candidates, budget)
    kept.sort(key=lambda candidate: (_p50(candidate), EXACTNESS.index(candidate.precision), _lost(candidate), candidate.name))
    stands = kept[0]
    for candidate in kept[1:]:
        near = _p50(candidate) <= _p50(kept[0]) * (1 + NEAR)
        if near and _lost(candidate) < _lost(stands) and _lost(candidate) <= WORTH * _lost(stands):
            stands = candidate
    return Choice(stands, _reason(stands, ran, budget))


def _within(ran: Sequence[Candidate], candidates: Sequence[Candidate], budget: Budget) -> list[Candidate]:
    """Those within the budget; at least one, or an error."""
    if not ran:
        raise RuntimeFailure(
            "No candidate could be run.",
            evidence=[f"{candidate.name}: {candidate.problem}" for candidate in candidates],
            remedy="see `edgec doctor`",
        )
    kept = [candidate for candidate in ran if _keeps(candidate, budget)]
    if kept:
        return kept
    if any(candidate.fidelity and candidate.fidelity.tasks for candidate in ran):
        raise FidelityError(
            "No candidate keeps the features and what the heads decide within the budget.",
            evidence=[f"{candidate.name}: {'; '.join(_lost_words(candidate, budget))}" for candidate in ran],
            remedy="use --precision auto, calibrate on more and truer frames, or ask for less where the robot can bear it",
        )
    # Rounded down: what is advised here must not be refused the next time.
    best = math.floor(max(map(_fidelity, ran)) * 1e4) / 1e4
    accept = f", or accept --min-fidelity {best:.4f}" if best > 0 else ""
    raise FidelityError(
        f"No candidate keeps the features within --min-fidelity {budget.min_fidelity:g}.",
        evidence=[f"{candidate.name}: {_fidelity(candidate):.6f}" for candidate in ran],
        remedy=f"use --precision auto, calibrate on more and truer frames{accept}",
    )


def choose_first(candidates: Sequence[Candidate], budget: Budget, order: Sequence[str]) -> Choice:
    """Where nothing can be measured, of the candidates within the budget the first in this order of precisions.

    Raises `RuntimeFailure` if no candidate ran, `FidelityError` if none keeps the features.
    """
    ran = [candidate for candidate in candidates if candidate.fidelity and not candidate.problem]
    kept = _within(ran, candidates, budget)
    stands = min(kept, key=lambda candidate: order.index(candidate.precision))  # of several int8 the first
    reason = (
        f"{stands.name} comes first in the target's order ({', '.join(order)}), no latency being known here; "
        f"{_kept_words(stands, budget)}, simulated here"
    )
    lost = [_loses(each, budget) for each in ran if each not in kept]
    return Choice(stands, "; ".join([reason, *lost]) + ".")


def choose_unmeasured(candidates: Sequence[Candidate], budget: Budget) -> Choice:
    """Where nothing can be measured, what a board tries first: the lowest precision within the budget.

    Raises `RuntimeFailure` if no candidate ran, `FidelityError` if none keeps the features.
    """
    ran = [candidate for candidate in candidates if candidate.fidelity and not candidate.problem]
    kept = _within(ran, candidates, budget)
    stands = max(kept, key=lambda candidate: EXACTNESS.index(candidate.precision))  # of several int8 the first
    others = {candidate.precision for candidate in kept} - {stands.precision}
    after = f", then {' and '.join(sorted(others, key=EXACTNESS.index, reverse=True))}" if others else ""
    reason = (
        f"{stands.name} is what a board tries first{after}; {_kept_words(stands, budget)}, simulated here. "
        "The board measures, and keeps the fastest that reproduces the features"
    )
    lost = [_loses(each, budget) for each in ran if each not in kept]
    return Choice(stands, "; ".join([reason, *lost]) + ".")


def _reason(stands: Candidate, ran: Sequence[Candidate], budget: Budget) -> str:
    first = f"{stands.name} takes {_p50(stands):.2f} ms at the median"
    exact = [_p50(candidate) for candidate in ran if candidate.precision == "fp32" and candidate is not stands]
    if exact and stands.precision != "fp32":
        first += f", {min(exact) / _p50(stands):.2f}x as fast as the best fp32"
    parts = [f"{first}; {_kept_words(stands, budget)}"]
    for candidate in ran:
        if candidate is stands:
            continue
        if not _keeps(candidate, budget):
            parts.append(_loses(candidate, budget))
        elif _p50(candidate) < _p50(stands):
            gain = 1 - _p50(candidate) / _p50(stands)
            parts.append(f"{candidate.name} is {gain:.1%} faster and less faithful ({_fidelity(candidate):.5f})")
        elif candidate.precision == "int8" and stands.precision != "int8":
            parts.append(f"{candidate.name} does not pay ({_p50(candidate):.2f} ms)")
    return "; ".join(parts) + "."


def _keeps(candidate: Candidate, budget: Budget) -> bool:
    return candidate.fidelity is not None and budget.keeps(candidate.fidelity)


def _lost_words(candidate: Candidate, budget: Budget) -> tuple[str, ...]:
    """What it loses beyond the budget; of one that loses nothing, what it keeps."""
    assert candidate.fidelity is not None
    return budget.lost(candidate.fidelity) or (_kept_words(candidate, budget),)


def _loses(candidate: Candidate, budget: Budget) -> str:
    if candidate.fidelity and candidate.fidelity.cosines and _fidelity(candidate) < budget.min_fidelity:
        return f"{candidate.name} loses the features ({_fidelity(candidate):.4f})"
    return f"{candidate.name} loses what the heads decide ({_lost_words(candidate, budget)[0]})"


def _kept_words(candidate: Candidate, budget: Budget) -> str:
    assert candidate.fidelity is not None
    words = []
    if candidate.fidelity.cosines:
        words.append(f"its worst cosine is {_fidelity(candidate):.5f} of {budget.min_fidelity:g} asked")
    for task in candidate.fidelity.tasks:
        if task.classes:
            words.append(f"{task.head} agrees on {task.classes.agreement:.2%} of the frames")
        elif task.masks:
            words.append(f"{task.head} has a mean IoU of {task.masks.mean_iou:.4f}")
        elif task.depths:
            words.append(f"{task.head} has a relative error of {task.depths.relative_error:.4f}")
        elif task.values:
            words.append(f"{task.head} has a mean cosine of {task.values.cosine_mean:.5f}")
    return ", ".join(words)


def _fidelity(candidate: Candidate) -> float:
    assert candidate.fidelity is not None
    return worst(candidate.fidelity)


def _lost(candidate: Candidate) -> float:
    return 1 - _fidelity(candidate)


def _p50(candidate: Candidate) -> float:
    assert candidate.latency is not None
    return candidate.latency.p50_ms
