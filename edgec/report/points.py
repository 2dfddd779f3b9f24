"""Candidates by latency and loss: the points of pictures and charts, and the budgets that bound them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgec.fidelity.metrics import worst
from edgec.records.report import CandidateFigures, Report
from edgec.report.decisions import allowed_loss, budget_words, has_features, head_measures

FLOOR = 1e-6
"""A report's cosines have six decimals: what has lost less is drawn here."""


@dataclass(frozen=True)
class Point:
    """`lost` is 1 minus the lowest of the three cosines or, of a model without features, what its worst head lost; at least
    `FLOOR`. Times are milliseconds."""

    candidate: CandidateFigures
    p50: float
    p90: float
    lost: float
    on_front: bool


def looks(names: Sequence[str], known: Mapping[str, str], others: Sequence[str]) -> dict[str, str]:
    """A colour or shape for each of `names`. Known names come first and always look the same; the rest take `others` in turn."""
    others_named = [name for name in dict.fromkeys(names) if name not in known]
    others_looks = {name: others[index % len(others)] for index, name in enumerate(others_named)}
    return {name: look for name, look in known.items() if name in names} | others_looks


def points_of(report: Report) -> tuple[Point, ...]:
    """Every candidate with both figures, sorted by latency. On the front are those than which none is both faster and more
    faithful."""
    drawn = [
        (candidate, candidate.latency.p50_ms, candidate.latency.p90_ms, _floored(1 - worst(candidate.fidelity)))
        for candidate in report.candidates
        if candidate.latency is not None and candidate.fidelity is not None
    ]
    drawn.sort(key=lambda entry: (entry[1], entry[3]))
    points: list[Point] = []
    best = float("inf")
    for candidate, p50, p90, lost in drawn:
        points.append(Point(candidate, p50, p90, lost, lost < best))
        best = min(best, lost)
    return tuple(points)


def budgets_of(report: Report) -> tuple[tuple[float, str], ...]:
    """The most that may be lost, as in `Point.lost`, and in words: of features or, where there are none, of heads."""
    if has_features(report):
        return ((_floored(1 - report.min_fidelity), f"budget: fidelity at least {report.min_fidelity:g}"),)
    measures = dict.fromkeys(each.measure for each in head_measures(candidate.fidelity for candidate in report.candidates))
    words_by_loss: dict[float, list[str]] = {}
    for measure in measures:
        allowed = allowed_loss(report, measure)
        if allowed is not None:
            words_by_loss.setdefault(_floored(allowed), []).append(budget_words(report, measure))
    return tuple((lost, f"budget: {', '.join(words)}") for lost, words in words_by_loss.items())


def _floored(lost: float) -> float:
    return max(round(lost, 9), FLOOR)
