"""The data of a page's charts: the specification that draws each, and its rows, column by column."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgec.records.evidence import Evidence
from edgec.records.reading import printable
from edgec.records.report import CandidateFigures, Latency, Report, Run
from edgec.report.breakdown import Part, by_block, by_kind
from edgec.report.compare.verdicts import COSINES, Comparison
from edgec.report.decisions import has_features, judged_stages
from edgec.report.html import specs
from edgec.report.html.series import bands, histogram, rounded, slower_share, thinned, wide
from edgec.report.html.specs import Spec
from edgec.report.html.subjects import Subject, candidates_of
from edgec.report.points import FLOOR, budgets_of, points_of

Rows = Sequence[Mapping[str, Any]]


@dataclass
class Charts:
    """By name. Specifications that are the same are kept once."""

    specs: list[Spec] = field(default_factory=list)
    charts: dict[str, dict[str, Any]] = field(default_factory=dict)
    _places: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, spec: Spec, *, height: int | None = None, logarithmic: bool = False, **datasets: Rows) -> str:
        """Returns `name`; an empty `spec` is not kept. `height` is in pixels, where it depends on the rows. `logarithmic` says so
        of the axis of latencies, to the script that places labels."""
        if not spec:
            return name
        index = self._places.setdefault(json.dumps(spec, sort_keys=True), len(self.specs))
        if index == len(self.specs):
            self.specs.append(spec)
        self.charts[name] = {"spec": index, "data": {title: _columns(rows) for title, rows in datasets.items()}}
        if height is not None:
            self.charts[name]["height"] = height
        if logarithmic:
            self.charts[name]["logarithmic"] = True
        return name


def _columns(rows: Rows) -> dict[str, list[Any]]:
    return {title: [row[title] for row in rows] for title in rows[0]} if rows else {}


def add_overview(charts: Charts, subjects: Sequence[Subject]) -> str | None:
    """Every candidate of every report; `row` is its row in the overview's table, by which the page filters."""
    rows: list[dict[str, Any]] = []
    row = 0
    for number, subject in enumerate(subjects, 1):
        points = {point.candidate.name: point for point in points_of(subject.report)}
        for index, candidate in enumerate(candidates_of(subject.report), 1):
            point = points.get(candidate.name)
            if point is not None:
                rows.append(_point(f"{number}.{index}", point.candidate, point.p50, point.p90, point.lost) | {"row": row})
                rows[-1]["name"] = f"{printable(subject.name)}: {rows[-1]['name']}"
            row += 1
    features = {has_features(subject.report) for subject in subjects}
    return charts.add("overview", _pareto(rows, features), logarithmic=_broad(rows), points=rows) if rows else None


def add_pareto(charts: Charts, name: str, report: Report) -> str | None:
    """The chart's name; None where no candidate has both latency and fidelity."""
    points = points_of(report)
    if not points:
        return None
    numbers = {candidate.name: str(index) for index, candidate in enumerate(report.candidates, 1)}
    rows = [_point(numbers[p.candidate.name], p.candidate, p.p50, p.p90, p.lost) for p in points]
    front = [{"p50": rounded(point.p50), "lost": point.lost} for point in points if point.on_front]
    if points[-1].p50 > points[0].p50:
        front.append({"p50": rounded(points[-1].p50), "lost": front[-1]["lost"]})
    return charts.add(
        name, _pareto(rows, {has_features(report)}), logarithmic=_broad(rows), points=rows, front=front, budget=_budget(report)
    )


def _pareto(rows: Sequence[Mapping[str, Any]], features: set[bool]) -> Spec:
    """`features` holds True if some of the points' models give features, and False if some give none."""
    precisions = tuple(dict.fromkeys(str(row["precision"]) for row in rows))
    runtimes = tuple(dict.fromkeys(str(row["runtime"]) for row in rows))
    title = specs.LOST[features == {True}, True in features]
    return specs.pareto(precisions, runtimes, title, wide=_broad(rows))


def _broad(rows: Sequence[Mapping[str, Any]]) -> bool:
    return wide([row["p50"] for row in rows])


def _point(label: str, candidate: CandidateFigures, p50: float, p90: float, lost: float) -> dict[str, Any]:
    evidence = candidate.latency.evidence.value if candidate.latency else ""
    measured = evidence in (Evidence.TARGET.value, Evidence.HOST.value)
    return {
        # A simulated or estimated latency must not look like a measured one.
        "label": label if measured else f"{label} {evidence.split()[0]}",
        "name": printable(candidate.name), "runtime": printable(candidate.runtime),
        "precision": printable(candidate.precision), "p50": rounded(p50), "p90": rounded(p90), "lost": rounded(lost),
        "chosen": candidate.chosen, "evidence": evidence,
    }  # fmt: skip


def _budget(report: Report) -> list[dict[str, Any]]:
    return [{"lost": lost, "text": text} for lost, text in budgets_of(report)]


def add_latency(charts: Charts, name: str, latency: Latency) -> dict[str, str]:
    """By kind, the charts of `latency`, which has samples: timeline, distribution, and the share of runs that are slower."""
    samples, broad = latency.samples_ms, wide(latency.samples_ms)
    slow = latency.p99_ms
    drawn = thinned(samples)
    figures = [{"name": f"{title} {value:.4g} ms", "ms": rounded(value)} for title, value in
               (("p50", latency.p50_ms), ("p99", slow))]  # fmt: skip
    return {
        "timeline": charts.add(
            f"{name}-timeline", specs.timeline(wide=broad),
            samples=[
                {"run": index + 1, "ms": rounded(samples[index]), "slow": bool(samples[index] > slow)} for index in drawn
            ],
            bands=[{"from": first + 0.5, "to": last + 0.5, "round": turn} for first, last, turn in bands(latency.blocks)],
            figures=figures,
        ),
        "distribution": charts.add(
            f"{name}-distribution", specs.distribution(wide=broad),
            bins=[{"low": low, "high": high, "count": count} for low, high, count in histogram(samples)],
            slow=[{"ms": value} for value in dict.fromkeys(rounded(sample) for sample in samples if sample > slow)],
        ),
        "slower": charts.add(
            f"{name}-slower", specs.slower(wide=broad),
            shares=[{"ms": ms, "share": share} for ms, share in slower_share(samples)], deadline=[],
        ),
    }  # fmt: skip


def add_camera(charts: Charts, name: str, run: Run) -> str | None:
    """None for a run without columns."""
    if not run.done_ms or len(run.done_ms) != len(run.arrived_ms):
        return None
    taken = [done - arrived for arrived, done in zip(run.arrived_ms, run.done_ms, strict=True)]
    limit = run.deadline_ms
    frames = [
        {
            "s": rounded(run.arrived_ms[index] / 1000),
            "ms": rounded(taken[index]),
            "late": limit is not None and bool(taken[index] > limit),
        }
        for index in thinned(taken)
    ]
    limits = [] if limit is None else [{"ms": rounded(limit), "text": f"deadline {limit:.4g} ms"}]
    return charts.add(name, specs.camera(), frames=frames, limit=limits)


def add_stages(charts: Charts, name: str, report: Report) -> str | None:
    """What each stage and candidate lost of each cosine; None where there are no cosines."""
    named = {printable(name): stage for name, stage in judged_stages(report)}
    rows = [
        {"stage": stage, "figure": title, "lost": max(rounded(1 - value), FLOOR), "cosine": value}
        for stage, fidelity in named.items()
        for cosine, title in COSINES.items()
        if (value := getattr(fidelity, cosine)) is not None
    ]
    return charts.add(name, specs.stages(), height=24 * len(named), lost=rows, budget=_budget(report)) if rows else None


def add_times(charts: Charts, name: str, candidate: CandidateFigures) -> dict[str, str]:
    """The charts of a profile: by kind and, where the runtime's steps name their blocks, by block."""
    assert candidate.profile is not None
    parts_by_title = {"kind": by_kind(candidate.profile), "block": by_block(candidate.profile)}
    return {
        title: charts.add(
            f"{name}-{title}",
            specs.times(by_block=title == "block"),
            height=20 * len(parts),
            parts=[_part(part) for part in parts],
        )
        for title, parts in parts_by_title.items()
        if len(parts) > 1
    }


def _part(part: Part) -> dict[str, Any]:
    return {"part": printable(part.name), "ms": rounded(part.ms), "share": rounded(part.share)}


def add_ratios(charts: Charts, comparisons: Sequence[Comparison], names: Sequence[str]) -> str | None:
    """`names` are those of the second sides, in their order. Ratios that are not comparable are marked so."""
    rows = [
        {
            "what": f"{printable(name)}: {judged.figure}",
            "ratio": rounded(judged.ratio.value), "low": rounded(judged.ratio.low),
            "high": rounded(judged.ratio.high),
            "verdict": "not comparable" if each.differences else judged.verdict.value if judged.verdict else "not judged",
        }
        for each, name in zip(comparisons, names, strict=True)
        for judged in each.latency
        if judged.ratio is not None
    ]  # fmt: skip
    return charts.add("ratios", specs.ratios(), height=26 * len(rows), ratios=rows, one=[{"ratio": 1}]) if rows else None
