"""Which candidates may ship, and why one does or does not, in words: what every family's choice has in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgec.errors import FidelityError, RequestError, RuntimeFailure
from edgec.fidelity.budget import Budget
from edgec.fidelity.metrics import worst, worst_of
from edgec.onboard.figures import kept, percentage
from edgec.records.report import CandidateFigures
from edgec.untrusted import printable

EXACTNESS = ("fp32", "bf16", "fp16", "w8", "int8", "fp8", "w6", "w4")
"""Precisions from the most to the least exact. Between candidates that are otherwise equal, the earlier one ships."""


@dataclass(frozen=True)
class Choice:
    """The candidate that ships, and the reason in words, for the report."""

    candidate: CandidateFigures
    reason: str


def within(ran: Sequence[CandidateFigures], candidates: Sequence[CandidateFigures], budget: Budget) -> list[CandidateFigures]:
    """Those of `ran` that keep the budget: at least one.

    Raises `RuntimeFailure` if `ran` is empty, `FidelityError` if none keeps the budget.
    """
    if not ran:
        raise RuntimeFailure(
            "No candidate could be run.",
            evidence=[f"{candidate.name}: {candidate.problem}" for candidate in candidates],
            remedy="see `edgec doctor`",
        )
    suitable = [candidate for candidate in ran if keeps(candidate, budget)]
    if suitable:
        return suitable
    if any(candidate.fidelity and candidate.fidelity.tasks for candidate in ran):
        raise FidelityError(
            "No candidate keeps the features and what the heads decide within the budget.",
            evidence=[f"{candidate.name}: {'; '.join(_describe_losses(candidate, budget))}" for candidate in ran],
            remedy="use --precision auto, calibrate on more frames from your camera, or relax a bound if the robot allows it",
        )
    # Rounded down: what is advised here must be accepted the next time.
    best = math.floor(max(1 - lost(candidate) for candidate in ran) * 1e4) / 1e4
    accept = f", or accept --min-fidelity {best:.4f}" if best > 0 else ""
    bound = f"--min-fidelity {budget.min_fidelity:g}"
    if budget.elsewhere is not None:
        bound += f" and --min-fidelity-elsewhere {budget.elsewhere:g}"
    raise FidelityError(
        f"No candidate keeps the features within {bound}.",
        evidence=[f"{candidate.name}: {_cosines(candidate)}" for candidate in ran],
        remedy=f"use --precision auto, calibrate on more frames from your camera{accept}",
    )


def _cosines(candidate: CandidateFigures) -> str:
    lowest = worst_of(candidate.elsewhere)
    away = "" if lowest is None else f", elsewhere {kept(worst(lowest))} ({lowest.stage})"
    return f"{kept(fidelity_of(candidate))}{away}"


def choose_named(name: str, candidates: Sequence[CandidateFigures], budget: Budget) -> Choice:
    """The candidate that the user named, whatever was measured.

    Raises `RequestError` if there is none of that name, `RuntimeFailure` if it did not run, `FidelityError` if it does not keep
    the budget.
    """
    named = [candidate for candidate in candidates if candidate.name == name]
    if not named:
        raise RequestError(
            f"There is no candidate {printable(name)}.",
            evidence=f"this build has {', '.join(candidate.name for candidate in candidates)}",
            remedy="name one of these with --candidate, or leave it out: the build then chooses",
        )
    chosen = within([candidate for candidate in named if candidate.fidelity and not candidate.problem], named, budget)[0]
    return Choice(chosen, f"{name} ships, because --candidate names it; {describe_kept(chosen, budget)}.")


def keeps(candidate: CandidateFigures, budget: Budget) -> bool:
    """Whether its fidelity is known and within the budget."""
    return candidate.fidelity is not None and budget.keeps(candidate.fidelity, candidate.elsewhere)


def _describe_losses(candidate: CandidateFigures, budget: Budget) -> tuple[str, ...]:
    """What it loses beyond the budget; if nothing, what it keeps."""
    assert candidate.fidelity is not None
    return budget.lost(candidate.fidelity, candidate.elsewhere) or (describe_kept(candidate, budget),)


def describe_loss(candidate: CandidateFigures, budget: Budget) -> str:
    """Why a candidate beyond the budget does not ship, as part of a reason."""
    if candidate.fidelity and candidate.fidelity.cosines and fidelity_of(candidate) < budget.min_fidelity:
        return f"{candidate.name} loses the features (fidelity {kept(fidelity_of(candidate))})"
    lowest = worst_of(candidate.elsewhere)
    if lowest is not None and worst(lowest) < budget.min_fidelity_elsewhere:
        return f"{candidate.name} loses the features elsewhere ({lowest.stage}: {kept(worst(lowest))})"
    return f"{candidate.name} loses what the heads decide ({_describe_losses(candidate, budget)[0]})"


def describe_kept(candidate: CandidateFigures, budget: Budget) -> str:
    """What it keeps of the features and of each head's decisions, as part of a reason."""
    assert candidate.fidelity is not None
    words = []
    if candidate.fidelity.cosines:
        words.append(f"its fidelity is {kept(fidelity_of(candidate))} of {budget.min_fidelity:g} asked")
    lowest = worst_of(candidate.elsewhere)
    if lowest is not None:
        words.append(f"elsewhere {kept(worst(lowest))} ({lowest.stage})")
    for task in candidate.fidelity.tasks:
        if task.classes:
            words.append(f"{task.head} agrees on {percentage(task.classes.agreement)} of the frames")
        elif task.masks:
            words.append(f"{task.head} has a mean IoU of {kept(task.masks.mean_iou)}")
        elif task.depths:
            words.append(f"{task.head} has a relative error of {task.depths.relative_error:.4f}")
        elif task.values:
            words.append(f"{task.head} has a mean cosine of {kept(task.values.cosine_mean)}")
    return ", ".join(words)


def lost(candidate: CandidateFigures) -> float:
    """1 less the fidelity, at home or elsewhere: by this, candidates are more or less faithful."""
    lowest = worst_of(candidate.elsewhere)
    return 1 - (fidelity_of(candidate) if lowest is None else min(fidelity_of(candidate), worst(lowest)))


def fidelity_of(candidate: CandidateFigures) -> float:
    """The figure that a budget bounds: the lowest of the three cosines; without features, what its worst head keeps."""
    assert candidate.fidelity is not None
    return worst(candidate.fidelity)
