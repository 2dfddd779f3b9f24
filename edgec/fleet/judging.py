"""Whether a board does worse with a release than the release itself says: in latency, where it was measured on such a board, and
in fidelity against its budget."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgec.fidelity.budget import Budget
from edgec.fidelity.tasks import TaskBudgets
from edgec.records.evidence import Evidence
from edgec.records.reading import printable
from edgec.records.report import CandidateFigures, Report
from edgec.report.compare.conditions import differences
from edgec.report.compare.sides import Side
from edgec.report.compare.verdicts import Verdict, compare

SLOWER_THAN = 10.0
"""Percent. Boards of one kind differ by some percent among themselves, in the chip and in how warm it is."""
_BUNDLE, _BOARD = "the bundle", "the board"


@dataclass(frozen=True)
class Judgement:
    """Sentences. `regressions` are what is worse; `compared` says what is not; `left_out` what could not be compared, and why."""

    regressions: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def judge(shipped: Report | None, measured: Report, slower_than: float = SLOWER_THAN) -> Judgement:
    """Compare what a board measured with the bundle's own report.

    Latency has regressed where p50 or p99 is higher by more than `slower_than` percent, and the 95 % interval of the ratio is
    above 1. It is compared only where the bundle's figures are of the same kind of board, in the same conditions, with the same
    evidence. Fidelity has regressed where a figure is outside of the budget that the bundle was built to keep.
    """
    candidate = next(each for each in measured.candidates if each.name == measured.chosen)
    return _joined(_fidelity(shipped or measured, candidate), _latency(shipped, measured, candidate, slower_than))


def _fidelity(asked: Report, candidate: CandidateFigures) -> Judgement:
    if candidate.fidelity is None:
        return Judgement(left_out=("fidelity is not compared: the board says none",))
    budget = Budget(asked.min_fidelity, TaskBudgets(asked.min_agreement, asked.min_iou, asked.max_depth_error))
    lost = budget.lost(candidate.fidelity)
    if lost:
        return Judgement(regressions=tuple(f"fidelity is below the budget: {sentence}" for sentence in lost))
    return Judgement(compared=("fidelity is within the budget",))


def _latency(shipped: Report | None, measured: Report, candidate: CandidateFigures, slower_than: float) -> Judgement:
    own = None if shipped is None else next((each for each in shipped.candidates if each.name == candidate.name), None)
    if shipped is None or own is None or own.latency is None or candidate.latency is None:
        why = f"the bundle has no measured latency of {printable(candidate.name)}"
        return Judgement(left_out=(f"latency is not compared: {why}",))
    first, second = Side(_BUNDLE, (shipped,), (own,)), Side(_BOARD, (measured,), (candidate,))
    apart = [f"{each.title} ({each.first}; here {each.second})" for each in differences(first, second)]
    kinds = own.latency.evidence, candidate.latency.evidence
    if not apart and kinds[0] is not kinds[1]:
        apart = [f"evidence ({kinds[0].value}; here {kinds[1].value})"]
    if apart:
        return Judgement(left_out=(f"latency is not compared: the bundle's figures differ in {', '.join(apart)}",))
    if kinds[0] is Evidence.EMULATED:
        return Judgement(left_out=("latency is not compared: under emulation times say nothing",))
    judgement = Judgement()
    for judged in compare(first, second).latency:
        ratio = judged.ratio
        if ratio is None or judged.why_not:
            judgement = _joined(judgement, Judgement(left_out=(f"{judged.figure} is not compared: {judged.why_not}",)))
            continue
        words = f"{judged.figure} is {ratio.value:.3f} times the bundle's (95 %: {ratio.low:.3f} to {ratio.high:.3f})"
        if judged.verdict is Verdict.SLOWER and ratio.value > 1 + slower_than / 100:
            judgement = _joined(judgement, Judgement(regressions=(words,)))
        else:
            judgement = _joined(judgement, Judgement(compared=(words,)))
    return judgement


def _joined(one: Judgement, other: Judgement) -> Judgement:
    return replace(
        one,
        regressions=one.regressions + other.regressions,
        compared=one.compared + other.compared,
        left_out=one.left_out + other.left_out,
    )
