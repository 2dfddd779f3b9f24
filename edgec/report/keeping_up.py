"""Whether what was measured keeps up with a camera: one rule for the terminal and for pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from edgec.onboard.figures import RUNS_FOR_P99, milliseconds
from edgec.records.evidence import Evidence
from edgec.records.report import CandidateFigures, Report
from edgec.report.compare.conditions import held_back, other_work
from edgec.report.compare.sides import Side

CAMERA_HZ: Final = 30
"""The camera that is asked about where nobody says which."""
_MISSED: Final = 0.01
"""A run on a camera's clock keeps up if it missed at most this share of its frames: what a p99 allows."""


@dataclass(frozen=True)
class KeepsUp:
    """`why` is a part of a sentence."""

    verdict: Literal["yes", "no", "not known"]
    why: str


def period_ms(report: Report, hz: float = CAMERA_HZ) -> float:
    """The time between two batches of frames."""
    return 1000 * report.input_shape[0] / hz


def keeps_up(report: Report, candidate: CandidateFigures, hz: float = CAMERA_HZ) -> KeepsUp:
    """A yes needs a run at that rate, or back-to-back runs of which 99 of 100 are short enough, on what the target promises. Data
    sheets can say no, never yes."""
    latency, period = candidate.latency, period_ms(report, hz)
    if latency is None:
        least = min((bound.bound_ms for bound in candidate.bounds), default=0.0)
        if least > period:
            return KeepsUp("no", f"at least {milliseconds(least)} ms by data sheets")
        return KeepsUp("not known", "no latency was measured")
    if latency.evidence not in (Evidence.TARGET, Evidence.HOST):
        return KeepsUp("not known", f"its latency is {latency.evidence.value}")
    if not report.host_is_target:
        return KeepsUp("not known", "measured on a machine that is not the target")
    for run in candidate.runs:
        if run.fps == hz and run.missed is not None:
            missed = f"{run.missed} of {run.arrived} frames missed at {hz:g} Hz"
            return KeepsUp("no" if run.missed > _MISSED * run.arrived else "yes", missed)
    of_all = "p99" if latency.iterations >= RUNS_FOR_P99 else f"the longest of {latency.iterations} runs"
    slowest = f"{of_all} is {milliseconds(latency.p99_ms)} of {milliseconds(period)} ms"
    if latency.p99_ms <= period:
        return KeepsUp("yes", slowest)
    if burdened(report, candidate):
        return KeepsUp("not known", f"{slowest}, measured under load")
    return KeepsUp("no", slowest if latency.p50_ms > period else f"{slowest}; the median is short enough")


def burdened(report: Report, candidate: CandidateFigures) -> str:
    """What made its latencies longer than they need be, in words; "" if nothing is known to have."""
    side = Side("it", (report,), (candidate,))
    return held_back(side) or other_work(side)
