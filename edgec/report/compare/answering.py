"""A comparison in one sentence: what a person wants to know before any table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgec.fidelity.metrics import worst
from edgec.onboard.figures import factors, kept
from edgec.records.reading import printable
from edgec.report.compare.sides import Side
from edgec.report.compare.verdicts import Comparison, Judged, Verdict
from edgec.report.names import short_names

MOST = 4
"""More comparisons than this are counted, not listed."""
Tone = Literal["good", "bad", "open"]
_TONES: dict[Verdict | None, Tone] = {Verdict.FASTER: "good", Verdict.SLOWER: "bad", Verdict.SAME: "open", None: "open"}
_COUNTED = {Verdict.FASTER: "faster", Verdict.SLOWER: "slower", Verdict.SAME: "no difference shown", None: "not judged"}


@dataclass(frozen=True)
class Answer:
    """`tone`: the second side is faster, slower, or neither was shown. Plain text on one line."""

    text: str
    tone: Tone


def answers(comparisons: Sequence[Comparison]) -> tuple[Answer, ...]:
    """A sentence for each comparison, or one for all of many. All are with one first side."""
    if not comparisons:
        return ()
    names = side_names([comparisons[0].first, *(each.second for each in comparisons)])
    if len(comparisons) > MOST:
        return (_counted(comparisons, names),)
    return tuple(_answer(each, names[0], name) for each, name in zip(comparisons, names[1:], strict=True))


def side_names(sides: Sequence[Side]) -> list[str]:
    """What tells sides apart: their files or folders; of one file, the candidates."""
    if len({side.name for side in sides}) == 1 and len({side.candidate.name for side in sides}) > 1:
        return [printable(side.candidate.name) for side in sides]
    names = short_names([Path(side.name) for side in sides])
    precisions = [side.candidate.precision for side in sides]
    told = len(set(precisions)) == 1 or all(each in name for each, name in zip(precisions, names, strict=True))
    return [printable(name if told else f"{name} ({each})") for name, each in zip(names, precisions, strict=True)]


def _answer(each: Comparison, first: str, second: str) -> Answer:
    judged = each.latency[0]
    if each.differences and judged.ratio is not None:
        apart = ", ".join(dict.fromkeys(difference.title for difference in each.differences))
        text = f"Nothing can be said of the speed: {second} was not measured as {first} was ({apart})"
        return Answer(f"{text}; {_fidelity(each, first)}.", "open")
    if judged.verdict is None:
        why = judged.why_not.removeprefix("not judged: ")
        to_do = f"; {judged.to_do}" if judged.to_do else ""
        return Answer(f"Nothing can be said of the speed: {why}{to_do}. {second} {_fidelity(each, first)}.", "open")
    return Answer(f"{second} {_speed(judged, first)}, and {_fidelity(each, first)}.", _TONES[judged.verdict])


def _speed(judged: Judged, first: str) -> str:
    ratio = judged.ratio
    assert ratio is not None
    if judged.verdict is Verdict.FASTER:
        value, low, high = factors(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)
        return f"is {value} times as fast as {first} ({low} to {high})"
    value, low, high = factors(ratio.value, ratio.low, ratio.high)
    if judged.verdict is Verdict.SLOWER:
        return f"takes {value} times as long as {first} ({low} to {high})"
    noticed = f"{100 * (ratio.shown - 1):.0f} %"
    return f"takes as long as {first} as far as can be told ({low} to {high} times; {noticed} more would have been noticed)"


def _fidelity(each: Comparison, first: str) -> str:
    ours, theirs = each.second.fidelity, each.first.fidelity
    if ours is None:
        return "its fidelity is not known"
    what = "of the features" if ours.cosines else "of what its heads decide"
    text = f"keeps {kept(worst(ours))} {what}"
    before = None if theirs is None or bool(theirs.cosines) != bool(ours.cosines) else kept(worst(theirs))
    return text if before is None or before == kept(worst(ours)) else f"{text} ({first}: {before})"


def _counted(comparisons: Sequence[Comparison], names: Sequence[str]) -> Answer:
    judged = [None if each.differences else each.latency[0].verdict for each in comparisons]
    counts = Counter(judged)
    listed = ", ".join(f"{counts[verdict]} {word}" for verdict, word in _COUNTED.items() if counts[verdict])
    text = f"Of {len(comparisons)} against {names[0]}: {listed}"
    ratios = [each.latency[0].ratio for each in comparisons]
    fast = [
        (ratio.value, name)
        for ratio, verdict, name in zip(ratios, judged, names[1:], strict=True)
        if ratio is not None and verdict is Verdict.FASTER
    ]
    if fast:
        value, name = min(fast)
        text += f"; the fastest is {name}, {factors(1 / value)[0]} times as fast"
    return Answer(f"{text}.", "good" if fast else "open")
