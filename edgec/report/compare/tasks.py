"""Heads on one side against the other: the same outputs, by the same figure."""

from __future__ import annotations

from dataclasses import dataclass

from edgec.fidelity.budget import DEFAULTS
from edgec.records.fidelity import TaskFidelity
from edgec.records.reading import printable
from edgec.report.compare.sides import Side
from edgec.report.decisions import HeadMeasure, bound, figure, head_measures, head_of, headline

_DEFAULTS = {
    "classes": DEFAULTS.min_agreement,
    "masks": DEFAULTS.min_iou,
    "depths": DEFAULTS.max_depth_error,
}
_SLACK = 1e-9


@dataclass(frozen=True)
class TaskChange:
    """One output of a head on both sides. `worse` is by how much the second side's figure is worse, below 0 if it is better."""

    what: HeadMeasure
    first: TaskFidelity
    second: TaskFidelity
    frames: int
    """Of the side that was judged on fewer."""

    @property
    def worse(self) -> float:
        """The figure's change, in its own unit, positive where the second side is worse."""
        change = figure(self.second) - figure(self.first)
        return change if self.what.measure == "depths" else -change


@dataclass(frozen=True)
class Tasks:
    """`alone`: outputs that only one side has, or that are of another kind, in words; `other`: heads of one name that differ."""

    changes: tuple[TaskChange, ...] = ()
    alone: tuple[str, ...] = ()
    other: tuple[str, ...] = ()


def compare_tasks(first: Side, second: Side) -> Tasks:
    """Empty where neither side has heads, or one was not judged at all."""
    if first.fidelity is None or second.fidelity is None:
        return Tasks()
    changes, alone = [], []
    for measure in head_measures([first.fidelity, second.fidelity]):
        one, two = measure.find(first.fidelity), measure.find(second.fidelity)
        if one is not None and two is not None:
            changes.append(TaskChange(measure, one, two, min(first.fidelity.frames, second.fidelity.frames)))
        else:
            side = second if one is None else first
            alone.append(f"{measure.words} is of {printable(side.name)} alone")
    other = [
        f"the head {printable(name)} is not the same in {printable(second.name)}: "
        f"its file's SHA-256 is {two[:12]}, not {one[:12]}"
        for name, (one, two) in _hashes(first, second, changes).items()
        if one != two
    ]
    return Tasks(tuple(changes), tuple(alone), tuple(other))


def _hashes(first: Side, second: Side, changes: list[TaskChange]) -> dict[str, tuple[str, str]]:
    hashes = {}
    for change in changes:
        one, two = (head_of(side.report, change.what.output) for side in (first, second))
        if one is not None and two is not None:
            hashes[one.name] = one.sha256, two.sha256
    return hashes


def alarm(change: TaskChange, first: Side, percent: float) -> str:
    """A regression in words, or "". A figure has regressed if it is worse by more than `percent` of what the first side's budget
    lets it lose; where there is no budget, that of a model without features counts.

    An agreement counts frames. One frame whose class changes, which rounding alone can do, is no regression, unless the budget
    itself is exceeded.
    """
    report, measure = first.report, change.what.measure
    budget = bound(report, measure)
    limit = _DEFAULTS.get(measure) if budget is None else budget
    assert limit is not None, "vectors are always bounded by min_fidelity"
    room = limit if measure == "depths" else 1 - limit
    allowed = percent / 100 * room
    after = figure(change.second)
    if measure == "classes" and (budget is None or after >= budget):
        allowed = max(allowed, 1 / change.frames)
    if change.worse <= allowed + _SLACK:
        return ""
    direction = "rose" if measure == "depths" else "fell"
    share = f"{allowed:.2%}" if measure == "classes" else f"{allowed:.5f}"
    return f"{change.what.words} {direction} from {headline(change.first)} to {headline(change.second)}; {share} is allowed"
