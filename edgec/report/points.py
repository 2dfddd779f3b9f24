"""Where candidates stand between latency and loss: the points of the pictures, and the budgets that bound them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgec.fidelity.metrics import worst
from edgec.records.fidelity import StageFidelity
from edgec.records.report import CandidateFigures, Report
from edgec.report.decisions import bound, budget_words, decided, has_features

FLOOR = 1e-6
"""A report's cosines have six decimals: whoever has lost less is drawn here."""


@dataclass(frozen=True)
class Point:
    """`lost` is 1 minus the worst of the three cosines or, of a model without features, what its worst head lost; at least
    `FLOOR`. Times are milliseconds."""

    candidate: CandidateFigures
    p50: float
    p90: float
    lost: float
    on_front: bool


def looks(names: Sequence[str], known: Mapping[str, str], others: Sequence[str]) -> dict[str, str]:
    """Of those that occur, colours or shapes by name: known ones always look the same, and come first; others take turns."""
    strange = [name for name in dict.fromkeys(names) if name not in known]
    turns = {name: others[index % len(others)] for index, name in enumerate(strange)}
    return {name: look for name, look in known.items() if name in names} | turns


def points_of(report: Report) -> tuple[Point, ...]:
    """Whoever has both figures, by latency. On the front is who is neither slower nor less faithful than any other."""
    drawn = [
        (candidate, candidate.latency.p50_ms, candidate.latency.p90_ms, _lost(candidate.fidelity))
        for candidate in report.candidates
        if candidate.latency is not None and candidate.fidelity is not None
    ]
    drawn.sort(key=lambda each: (each[1], each[3]))
    found: list[Point] = []
    best = float("inf")
    for candidate, p50, p90, lost in drawn:
        found.append(Point(candidate, p50, p90, lost, lost < best))
        best = min(best, lost)
    return tuple(found)


def _lost(fidelity: StageFidelity) -> float:
    return max(round(1 - worst(fidelity), 9), FLOOR)


def budgets_of(report: Report) -> tuple[tuple[float, str], ...]:
    """What may be lost at most, as `Point.lost` has it, and in words: of features or, where there are none, of heads."""
    if has_features(report):
        return ((max(round(1 - report.min_fidelity, 9), FLOOR), f"budget: worst cosine at least {report.min_fidelity:g}"),)
    measures = dict.fromkeys(each.measure for each in decided(candidate.fidelity for candidate in report.candidates))
    found: dict[float, list[str]] = {}
    for measure in measures:
        limit = bound(report, measure)
        if limit is not None:
            lost = limit if measure == "depths" else 1 - limit
            found.setdefault(max(round(lost, 9), FLOOR), []).append(budget_words(report, measure))
    return tuple((lost, f"budget: {', '.join(said)}") for lost, said in found.items())
