"""Whether one side is faster or slower than another, and whether a build should fail on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from edgec.errors import Regression
from edgec.latency.bootstrap import QUANTILES, Ratio, paired_ratio, ratio, samples_needed
from edgec.onboard.figures import kept
from edgec.records.reading import printable
from edgec.records.report import REPORT
from edgec.report.checks import Check, Outcome
from edgec.report.compare.compilations import Compilations, compare_compilations
from edgec.report.compare.conditions import Difference, differences, held_back, other_work
from edgec.report.compare.sides import Side
from edgec.report.compare.tasks import Tasks, alarm, compare_tasks

COSINES = {"cls_cosine_mean": "cls", "patch_cosine_mean": "patches", "patch_cosine_p01": "worst 1 % of patches"}
_ITERATIONS = 400
"""p99 needs 368 samples."""
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
    to_do: str = ""
    """What would give a verdict: an instruction, where one is known."""

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
            return Judged(figure, None, f"{printable(side.name)} has no measured latency", _measure(side))
        if not side.runs:
            return Judged(figure, None, f"{printable(side.name)} holds no samples", _measure(side))
    least = samples_needed(share)
    small = min(first, second, key=lambda side: side.samples)
    fewest = small.samples
    if fewest < least:
        return Judged(figure, None, f"too few runs to compare {figure}: {fewest} of {least} needed", _measure(small))
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
    if held:
        return Judged(figure, estimate, f"not judged: {held}", "let the board cool down, and measure again")
    if busy:
        disturbed = first if other_work(first) else second
        return Judged(figure, estimate, f"not judged: {busy}", f"measure again alone: {_bench(disturbed)}")
    return Judged(figure, estimate)


def _measure(side: Side) -> str:
    return f"measure it: {_bench(side)}"


def _bench(side: Side) -> str:
    """The command that measures the side's artefact, which only a folder's name tells."""
    path = Path(side.name)
    artefact = printable(side.name) if (path / REPORT).is_file() else "ARTEFACT"
    return f"edgec bench {artefact} --iterations {_ITERATIONS} --output {printable(path.stem)}.bench.json"


@dataclass(frozen=True)
class Gate:
    """What was looked at: `alarms` are regressions of more than `percent`; `blind` says what could not be judged. Without
    `percent`, nothing is a regression."""

    percent: float | None
    checks: tuple[Check, ...]

    @property
    def alarms(self) -> tuple[str, ...]:
        """A sentence each."""
        return tuple(check.text for check in self.checks if check.outcome == "failed")

    @property
    def blind(self) -> tuple[str, ...]:
        """A sentence each."""
        return tuple(check.text for check in self.checks if check.outcome == "undecided")

    def enforce(self) -> None:
        """Raises `Regression` if there is one."""
        if self.percent is not None and self.alarms:
            raise Regression(
                f"There is a regression of more than {self.percent:g} %.",
                evidence=self.alarms,
                remedy="if it is meant, compare with the new report from now on",
            )


def gate(comparisons: Sequence[Comparison], percent: float | None) -> Gate:
    """Latency has regressed where p50 or p99 is higher by more than `percent` and its interval is above 1: a difference that may
    be chance is no regression. Fidelity, where one of the three cosines is lower by more than `percent` of what the first side's
    budget allows to lose, 1 - min_fidelity; and where a head's figure is worse by more than that share of its own budget
    (`compare.tasks.alarm`). A head that one side alone has is not gated. A compiler's counts, where one grew by more than
    `percent`, or where the compiler refuses what it accepted before: counts have no noise."""
    return Gate(
        percent, tuple(check for each in comparisons for check in _checks(each, math.inf if percent is None else percent))
    )


def _checks(each: Comparison, percent: float) -> Iterator[Check]:
    name = printable(each.second.name)

    def check(what: str, outcome: Outcome, text: str) -> Check:
        return Check(f"{name}: {what}", outcome, f"{name}: {text}")

    for judged in each.latency:
        what, ratio = judged.figure, judged.ratio
        if ratio is None or judged.why_not:
            yield check(what, "undecided", f"{what} is not gated: {judged.why_not}")
        elif judged.verdict is Verdict.SLOWER and ratio.value > 1 + percent / 100:
            more = f"{_more(ratio.value)} higher (95 %: {_more(ratio.low)} to {_more(ratio.high)})"
            yield check(what, "failed", f"{what} is {more}")
        elif ratio.shown > 1 + percent / 100:
            yield check(what, "undecided", f"{what} would have to be {_more(ratio.shown)} higher to be more than noise")
        else:
            yield check(what, "passed", f"{what}: {judged.verdict and judged.verdict.value}, ratio {ratio.value:.3f}")
    yield from _fidelity_checks(each, percent, check)
    for change in each.tasks.changes:
        text = alarm(change, each.first, percent)
        yield check(f"head {printable(change.what.words)}", "failed" if text else "passed", text or "not worse than allowed")
    for text in (*each.tasks.alone, *each.compilations.apart):
        yield check(text, "undecided", f"not comparable: {text}")
    for count in each.compilations.changes:
        yield check(count.words, "failed" if count.grew_by(percent) else "passed", count.words)
    for text in each.compilations.refused:
        yield check("compiler", "failed" if math.isfinite(percent) else "undecided", text)


def _fidelity_checks(each: Comparison, percent: float, check: Callable[[str, Outcome, str], Check]) -> Iterator[Check]:
    judged = [side.fidelity for side in (each.first, each.second) if side.fidelity is not None]
    if len(judged) < 2:
        yield check("fidelity", "undecided", "fidelity is not gated: a side has none")
    elif len({bool(fidelity.cosines) for fidelity in judged}) > 1:
        yield check("fidelity", "undecided", "features are not gated: a side gives none")
    allowed = percent / 100 * (1 - each.first.report.min_fidelity) if math.isfinite(percent) else math.inf
    for cosine, change in each.fidelity.items():
        before, after = (getattr(side.fidelity, cosine) for side in (each.first, each.second))
        if -change > allowed:
            text = f"{COSINES[cosine]} fell from {kept(before)} to {kept(after)}; {allowed:.5f} is allowed"
            yield check(COSINES[cosine], "failed", text)
        else:
            yield check(COSINES[cosine], "passed", f"{COSINES[cosine]} is {kept(after)}, {kept(before)} before")


def _more(value: float) -> str:
    return f"{100 * (value - 1):.1f} %"
