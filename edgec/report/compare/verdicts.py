"""Whether one side is faster or slower than another, and whether a build should fail on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from edgec.errors import Regression
from edgec.latency.bootstrap import QUANTILES, Ratio, paired_ratio, ratio, samples_needed
from edgec.records.reading import printable
from edgec.report.compare.compilations import Compilations, compare_compilations
from edgec.report.compare.conditions import Difference, differences, held_back, other_work
from edgec.report.compare.sides import Side
from edgec.report.compare.tasks import Tasks, alarm, compare_tasks

COSINES = {"cls_cosine_mean": "cls", "patch_cosine_mean": "patch mean", "patch_cosine_p01": "patch p01"}
PACE_DOUBT = 0.25
"""By which share of a change of the machine's speed a model may follow it more than the yardstick does, or less, as a standard
deviation: one that waits for memory as well as for products followed it by three quarters. An assumption."""


class Verdict(str, Enum):
    """What a latency ratio's 95 % interval says: it is below 1, above it, or includes it."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "no difference shown"


@dataclass(frozen=True)
class Judged:
    """One figure of latency. `why_not` says why there is no verdict, and usually no ratio either."""

    figure: str
    ratio: Ratio | None
    why_not: str = ""

    @property
    def verdict(self) -> Verdict | None:
        """None where there is no ratio, or `why_not` says that it must not be judged."""
        if self.ratio is None or self.why_not:
            return None
        if self.ratio.low > 1:
            return Verdict.SLOWER
        return Verdict.FASTER if self.ratio.high < 1 else Verdict.SAME


@dataclass(frozen=True)
class Comparison:
    """`second` against `first`. `differences`: conditions that make the comparison doubtful. `fidelity`: by cosine, how much
    higher it is on the second side; empty where a side has none. `tasks`: what heads keep."""

    first: Side
    second: Side
    differences: tuple[Difference, ...]
    latency: tuple[Judged, ...]
    fidelity: dict[str, float]
    tasks: Tasks = field(default_factory=Tasks)
    compilations: Compilations = field(default_factory=Compilations)
    pace: float | None = None
    """How much slower the machine itself was on the second side, as a ratio, where the yardstick was measured: taken out of the
    ratios of latency."""


def compare(first: Side, second: Side) -> Comparison:
    """Compares whatever the conditions are: `conditions.require_comparable` refuses."""
    fidelity = {}
    if first.fidelity is not None and second.fidelity is not None and first.fidelity.cosines and second.fidelity.cosines:
        fidelity = {field: getattr(second.fidelity, field) - getattr(first.fidelity, field) for field in COSINES}
    pace = _pace(first, second)
    judged = tuple(_judge(first, second, pace, figure, share) for figure, share in QUANTILES.items())
    compiled = compare_compilations(first, second)
    return Comparison(first, second, differences(first, second), judged, fidelity, compare_tasks(first, second), compiled, pace)


def _pace(first: Side, second: Side) -> float | None:
    """How much slower the machine was on the second side. None also where both took turns in one run, which compares better."""
    if first.took_turns_with(second) or not first.paces_with(second) or first.pace_ms is None or second.pace_ms is None:
        return None
    return second.pace_ms / first.pace_ms


def _judge(first: Side, second: Side, pace: float | None, figure: str, share: float) -> Judged:
    for side in (first, second):
        if side.latency is None:
            return Judged(figure, None, f"{printable(side.name)} has no measured latency")
        if not side.runs:
            return Judged(figure, None, f"{printable(side.name)} holds no samples")
    least = samples_needed(share)
    fewest = min(first.samples, second.samples)
    if fewest < least:
        return Judged(figure, None, f"too few runs to compare {figure}: {fewest} of {least} needed")
    paired = first.took_turns_with(second)
    if paired:
        estimate = paired_ratio(first.runs[0], second.runs[0], share)
    elif pace is not None:
        estimate = ratio(first.paced, second.paced, share, doubt=PACE_DOUBT * abs(math.log(pace)))
    else:
        estimate = ratio(first.runs, second.runs, share)
    # Throttling does not stop at the end of a block: it does not hit all that took turns alike.
    held = next(filter(None, map(held_back, (first, second))), "")
    busy = "" if paired else next(filter(None, map(other_work, (first, second))), "")
    return Judged(figure, estimate, f"not told: {held or busy}" if held or busy else "")


@dataclass(frozen=True)
class Gate:
    """`alarms` are regressions of more than `percent`; `blind` says what could not be judged."""

    percent: float
    alarms: tuple[str, ...]
    blind: tuple[str, ...]

    def enforce(self) -> None:
        """Raises `Regression` if there is one."""
        if self.alarms:
            raise Regression(
                f"There is a regression of more than {self.percent:g} %.",
                evidence=self.alarms,
                remedy="if it is meant, compare with the new report from now on",
            )


def gate(comparisons: Sequence[Comparison], percent: float) -> Gate:
    """Latency has regressed where p50 or p99 is higher by more than `percent` and its interval is above 1: a difference that may
    be chance is no regression. Fidelity, where one of the three cosines is lower by more than `percent` of what the first side's
    budget allows to lose, 1 - min_fidelity; and where a head's figure is worse by more than that share of its own budget
    (`compare.tasks.alarm`). A head that one side alone has is not gated. A compiler's counts, where one grew by more than
    `percent`, or where the compiler refuses what it accepted before: counts have no noise."""
    alarms: list[str] = []
    blind: list[str] = []
    for each in comparisons:
        name = printable(each.second.name)
        for judged in each.latency:
            what, ratio = f"{name}: {judged.figure}", judged.ratio
            if ratio is None or judged.why_not:
                blind.append(f"{what} is not gated: {judged.why_not}")
            elif judged.verdict is Verdict.SLOWER and ratio.value > 1 + percent / 100:
                alarms.append(f"{what} is {_more(ratio.value)} higher (95 %: {_more(ratio.low)} to {_more(ratio.high)})")
            elif ratio.shown > 1 + percent / 100:
                blind.append(f"{what} would have to be {_more(ratio.shown)} higher to be told from noise")
        allowed = percent / 100 * (1 - each.first.report.min_fidelity)
        judged_sides = [side.fidelity for side in (each.first, each.second) if side.fidelity is not None]
        if len(judged_sides) < 2:
            blind.append(f"{name}: fidelity is not gated: a side has none")
        elif len({bool(ratio.cosines) for ratio in judged_sides}) > 1:
            blind.append(f"{name}: features are not gated: a side gives none")
        for cosine, change in each.fidelity.items():
            if -change > allowed:
                before, after = (getattr(side.fidelity, cosine) for side in (each.first, each.second))
                alarms.append(f"{name}: {COSINES[cosine]} fell from {before:.5f} to {after:.5f}; {allowed:.5f} is allowed")
        alarms += [f"{name}: {text}" for change in each.tasks.changes if (text := alarm(change, each.first, percent))]
        blind += [f"{name}: not comparable: {text}" for text in (*each.tasks.alone, *each.compilations.apart)]
        grown = [change for change in each.compilations.changes if change.grew_by(percent)]
        alarms += [f"{name}: {text}" for text in (*(change.words for change in grown), *each.compilations.refused)]
    return Gate(percent, tuple(alarms), tuple(blind))


def _more(value: float) -> str:
    return f"{100 * (value - 1):.1f} %"
