"""Which candidates may ship, and the words for why one does or does not: what every family's choice has in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgec.errors import FidelityError, RuntimeFailure
from edgec.fidelity.budget import Budget
from edgec.fidelity.metrics import worst
from edgec.records.report import CandidateFigures

EXACTNESS = ("fp32", "bf16", "fp16", "w8", "int8", "w6", "w4")
"""Between candidates that are equal otherwise, the first of these ships."""


@dataclass(frozen=True)
class Choice:
    candidate: CandidateFigures
    reason: str


def within(ran: Sequence[CandidateFigures], candidates: Sequence[CandidateFigures], budget: Budget) -> list[CandidateFigures]:
    """Those within the budget; at least one, or an error."""
    if not ran:
        raise RuntimeFailure(
            "No candidate could be run.",
            evidence=[f"{candidate.name}: {candidate.problem}" for candidate in candidates],
            remedy="see `edgec doctor`",
        )
    kept = [candidate for candidate in ran if keeps(candidate, budget)]
    if kept:
        return kept
    if any(candidate.fidelity and candidate.fidelity.tasks for candidate in ran):
        raise FidelityError(
            "No candidate keeps the features and what the heads decide within the budget.",
            evidence=[f"{candidate.name}: {'; '.join(_lost_words(candidate, budget))}" for candidate in ran],
            remedy="use --precision auto, calibrate on more and truer frames, or ask for less where the robot can bear it",
        )
    # Rounded down: what is advised here must not be refused the next time.
    best = math.floor(max(map(fidelity_of, ran)) * 1e4) / 1e4
    accept = f", or accept --min-fidelity {best:.4f}" if best > 0 else ""
    raise FidelityError(
        f"No candidate keeps the features within --min-fidelity {budget.min_fidelity:g}.",
        evidence=[f"{candidate.name}: {fidelity_of(candidate):.6f}" for candidate in ran],
        remedy=f"use --precision auto, calibrate on more and truer frames{accept}",
    )


def keeps(candidate: CandidateFigures, budget: Budget) -> bool:
    return candidate.fidelity is not None and budget.keeps(candidate.fidelity)


def _lost_words(candidate: CandidateFigures, budget: Budget) -> tuple[str, ...]:
    """What it loses beyond the budget; of one that loses nothing, what it keeps."""
    assert candidate.fidelity is not None
    return budget.lost(candidate.fidelity) or (kept_words(candidate, budget),)


def loses(candidate: CandidateFigures, budget: Budget) -> str:
    if candidate.fidelity and candidate.fidelity.cosines and fidelity_of(candidate) < budget.min_fidelity:
        return f"{candidate.name} loses the features ({fidelity_of(candidate):.4f})"
    return f"{candidate.name} loses what the heads decide ({_lost_words(candidate, budget)[0]})"


def kept_words(candidate: CandidateFigures, budget: Budget) -> str:
    assert candidate.fidelity is not None
    words = []
    if candidate.fidelity.cosines:
        words.append(f"its worst cosine is {fidelity_of(candidate):.5f} of {budget.min_fidelity:g} asked")
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


def fidelity_of(candidate: CandidateFigures) -> float:
    assert candidate.fidelity is not None
    return worst(candidate.fidelity)
