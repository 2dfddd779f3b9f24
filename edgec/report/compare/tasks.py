"""What heads keep on one side against the other: the same outputs of heads, by the same figure."""

from __future__ import annotations

from dataclasses import dataclass

from edgec.fidelity.budget import WITHOUT_FEATURES
from edgec.records.fidelity import TaskFidelity
from edgec.records.reading import printable
from edgec.report.compare.sides import Side
from edgec.report.decisions import Decided, bound, decided, figure, head_of, headline

_DEFAULTS = {
    "classes": WITHOUT_FEATURES.min_agreement,
    "masks": WITHOUT_FEATURES.min_iou,
    "depths": WITHOUT_FEATURES.max_depth_error,
}
_SLACK = 1e-9


@dataclass(frozen=True)
class TaskChange:
    """One output of a head on both sides. `worse` is by how much the second side's figure is worse, below 0 if it is better."""

    what: Decided
    first: TaskFidelity
    second: TaskFidelity
    frames: int
    """Of the side that was judged on fewer."""

    @property
    def worse(self) -> float:
        change = figure(self.second) - figure(self.first)
        return change if self.what.measure == "depths" else -change


@dataclass(frozen=True)
class Tasks:
    """`alone`: what only one side has, or has of another kind, in words; `other`: heads of one name that are not the same."""

    changes: tuple[TaskChange, ...] = ()
    alone: tuple[str, ...] = ()
    other: tuple[str, ...] = ()


def compare_tasks(first: Side, second: Side) -> Tasks:
    """Empty where neither side has heads, or one was not judged at all."""
    if first.fidelity is None or second.fidelity is None:
        return Tasks()
    changes, alone = [], []
    for each in decided([first.fidelity, second.fidelity]):
        one, two = each.find(first.fidelity), each.find(second.fidelity)
        if one is not None and two is not None:
            changes.append(TaskChange(each, one, two, min(first.fidelity.frames, second.fidelity.frames)))
        else:
            side = second if one is None else first
            alone.append(f"{each.words} is of {printable(side.name)} alone")
    other = [
        f"the head {printable(name)} is another one in {printable(second.name)}: its file's SHA-256 is {two[:12]}, not {one[:12]}"
        for name, (one, two) in _hashes(first, second, changes).items()
        if one != two
    ]
    return Tasks(tuple(changes), tuple(alone), tuple(other))


def _hashes(first: Side, second: Side, changes: list[TaskChange]) -> dict[str, tuple[str, str]]:
    found = {}
    for change in changes:
        one, two = (head_of(side.report, change.what.output) for side in (first, second))
        if one is not None and two is not None:
            found[one.name] = one.sha256, two.sha256
    return found


def alarm(change: TaskChange, first: Side, percent: float) -> str:
    """In words, or nothing: a figure has regressed that is worse by more than `percent` of what the first side's budget lets it
    lose (of what a model without features may lose, where there is no budget).

    An agreement counts frames: where one frame's class tips over, which rounding alone can do, nothing has regressed, unless that
    is beyond the budget itself.
    """
    report, measure = first.report, change.what.measure
    asked = bound(report, measure)
    limit = _DEFAULTS.get(measure) if asked is None else asked
    assert limit is not None, "of vectors there always is one"
    room = limit if measure == "depths" else 1 - limit
    allowed = percent / 100 * room
    after = figure(change.second)
    if measure == "classes" and (asked is None or after >= asked):
        allowed = max(allowed, 1 / change.frames)
    if change.worse <= allowed + _SLACK:
        return ""
    way = "rose" if measure == "depths" else "fell"
    share = f"{allowed:.2%}" if measure == "classes" else f"{allowed:.5f}"
    return f"{change.what.words} {way} from {headline(change.first)} to {headline(change.second)}; {share} is allowed"
