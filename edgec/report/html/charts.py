"""The data of a page's charts: the specification that draws each, and its rows, column by column."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgec.fidelity.metrics import worst
from edgec.onboard.figures import RUNS_FOR_P99, milliseconds
from edgec.records.evidence import Evidence
from edgec.records.reading import printable
from edgec.records.report import CandidateFigures, Latency, Report, Run
from edgec.report.breakdown import Part, by_block, by_kind
from edgec.report.compare.verdicts import COSINES, Comparison
from edgec.report.decisions import has_features, judged_stages
from edgec.report.facts import size_of
from edgec.report.html import specs
from edgec.report.html.series import bands, histogram, rounded, slower_share, thinned, wide
from edgec.report.html.specs import Spec
from edgec.report.html.subjects import Subject, candidates_of
from edgec.report.points import Point, budgets_of, points_of

Rows = Sequence[Mapping[str, Any]]


@dataclass
class Charts:
    """By name. Specifications that are the same are kept once."""

    specs: list[Spec] = field(default_factory=list)
    charts: dict[str, dict[str, Any]] = field(default_factory=dict)
    _places: dict[str, int] = field(default_factory=dict)

    def add(
        self, name: str, spec: Spec, *, height: int | None = None, logarithmic: bool = False, batch: int = 0, **datasets: Rows
    ) -> str:
        """Returns `name`; an empty `spec` is not kept. `height` is in pixels, where it depends on the rows. `logarithmic` says so
        of the axis of latencies, to the script that places labels; `batch`, of charts of latencies, says of how many frames one
        is, to the script that draws the camera's deadline."""
        if not spec:
            return name
        index = self._places.setdefault(json.dumps(spec, sort_keys=True), len(self.specs))
        if index == len(self.specs):
            self.specs.append(spec)
        self.charts[name] = {"spec": index, "data": {title: _columns(rows) for title, rows in datasets.items()}}
        if height is not None:
            self.charts[name]["height"] = height
        if batch:
            self.charts[name]["batch"] = batch
        if logarithmic:
            self.charts[name]["logarithmic"] = True
        return name


def _columns(rows: Rows) -> dict[str, list[Any]]:
    return {title: [row[title] for row in rows] for title in rows[0]} if rows else {}


def add_overview(charts: Charts, subjects: Sequence[Subject]) -> list[tuple[str, str]]:
    """A chart, by title, for each size and board of several reports: points in one chart may be compared. `row` is a point's row
    in the overview's table, by which the page filters."""
    facets: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    budgets: dict[tuple[str, bool], dict[str, float]] = {}
    batches: dict[tuple[str, bool], int] = {}
    row = 0
    for number, subject in enumerate(subjects, 1):
        report = subject.report
        points = {point.candidate.name: point for point in points_of(report)}
        for index, candidate in enumerate(candidates_of(report), 1):
            point = points.get(candidate.name)
            if point is not None:
                facet = (_facet_title(report, candidate), has_features(report))
                name = f"{printable(subject.name)}: {printable(candidate.name)}"
                facets.setdefault(facet, []).append(_point(f"{number}.{index}", point) | {"row": row, "name": name})
                budgets.setdefault(facet, {}).update({text: 1 - lost for lost, text in budgets_of(report)})
                batches[facet] = report.input_shape[0]
            row += 1
    result = []
    for number, (facet, rows) in enumerate(facets.items()):
        limits = [{"kept": rounded_kept(least), "text": text} for text, least in budgets[facet].items()]
        chart = charts.add(
            f"overview{number}", _pareto(rows, features=facet[1]), logarithmic=_broad(rows), batch=batches[facet],
            points=rows, front=[], budget=limits, deadline=[], beyond=[],
        )  # fmt: skip
        result.append((facet[0], chart))
    return result


def _facet_title(report: Report, candidate: CandidateFigures) -> str:
    evidence = candidate.latency.evidence if candidate.latency else Evidence.ESTIMATED
    kind = "measured" if evidence in (Evidence.TARGET, Evidence.HOST) else evidence.value
    batch = f", {report.input_shape[0]} frames a batch" if report.input_shape[0] > 1 else ""
    power = candidate.latency.power_mode if candidate.latency else None
    mode = f", power mode {power}" if power else ""
    return printable(f"{size_of(report)}{batch}, {report.target}, {kind} on {report.host.cpu}{mode}")


def add_pareto(charts: Charts, name: str, report: Report) -> str | None:
    """The chart's name; None where no candidate has both latency and fidelity."""
    points = points_of(report)
    if not points:
        return None
    numbers = {candidate.name: str(index) for index, candidate in enumerate(report.candidates, 1)}
    rows = [_point(numbers[point.candidate.name], point) for point in points]
    front = [{"p50": row["p50"], "kept": row["kept"]} for row, point in zip(rows, points, strict=True) if point.on_front]
    if points[-1].p50 > points[0].p50:
        front.append({"p50": rounded(points[-1].p50), "kept": front[-1]["kept"]})
    return charts.add(
        name, _pareto(rows, features=has_features(report)), logarithmic=_broad(rows), batch=report.input_shape[0],
        points=rows, front=front, budget=_budget(report), deadline=[], beyond=[],
    )  # fmt: skip


def _pareto(rows: Sequence[Mapping[str, Any]], *, features: bool) -> Spec:
    """`features`: whether the points' models give some."""
    precisions = tuple(dict.fromkeys(str(row["precision"]) for row in rows))
    runtimes = tuple(dict.fromkeys(str(row["runtime"]) for row in rows))
    return specs.pareto(precisions, runtimes, specs.KEPT[features], wide=_broad(rows))


def _broad(rows: Sequence[Mapping[str, Any]]) -> bool:
    return wide([row["p50"] for row in rows])


def _point(label: str, point: Point) -> dict[str, Any]:
    candidate = point.candidate
    assert candidate.latency is not None
    assert candidate.fidelity is not None
    evidence = candidate.latency.evidence.value
    measured = evidence in (Evidence.TARGET.value, Evidence.HOST.value)
    return {
        # A simulated or estimated latency must not look like a measured one.
        "label": label if measured else f"{label} {evidence.split()[0]}",
        "name": printable(candidate.name), "runtime": printable(candidate.runtime),
        "precision": printable(candidate.precision), "p50": rounded(point.p50), "p90": rounded(point.p90),
        "kept": rounded_kept(worst(candidate.fidelity)), "chosen": candidate.chosen, "evidence": evidence,
    }  # fmt: skip


def _budget(report: Report) -> list[dict[str, Any]]:
    return [{"kept": rounded_kept(1 - lost), "text": text} for lost, text in budgets_of(report)]


def rounded_kept(value: float) -> float:
    """What is kept, as charts draw it: to the decimals of reports."""
    return round(value, 6)


def add_latency(charts: Charts, name: str, latency: Latency, batch: int) -> dict[str, str]:
    """By kind, the charts of `latency`, which has samples: timeline, distribution, and the share of runs that are slower."""
    samples, broad = latency.samples_ms, wide(latency.samples_ms)
    slow = latency.p99_ms
    drawn = thinned(samples)
    shown = [("p50", latency.p50_ms), *([("p99", slow)] if latency.iterations >= RUNS_FOR_P99 else [])]
    figures = [
        {"name": f"{title} {milliseconds(value)} ms", "ms": rounded(value), "below": title == "p50"} for title, value in shown
    ]
    return {
        "timeline": charts.add(
            f"{name}-timeline", specs.timeline(wide=broad), batch=batch, deadline=[], beyond=[],
            samples=[
                {"run": index + 1, "ms": rounded(samples[index]), "slow": bool(samples[index] > slow)} for index in drawn
            ],
            bands=[{"from": first + 0.5, "to": last + 0.5, "round": turn} for first, last, turn in bands(latency.blocks)],
            figures=figures,
        ),
        "distribution": charts.add(
            f"{name}-distribution", specs.distribution(wide=broad), batch=batch, deadline=[], beyond=[],
            bins=[{"low": low, "high": high, "count": count} for low, high, count in histogram(samples)],
            slow=[{"ms": value} for value in dict.fromkeys(rounded(sample) for sample in samples if sample > slow)],
        ),
        "slower": charts.add(
            f"{name}-slower", specs.slower(wide=broad), batch=batch,
            shares=[{"ms": ms, "share": share} for ms, share in slower_share(samples)], deadline=[], beyond=[],
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
    """What each stage and candidate kept of each cosine; None where there are no cosines."""
    named = {printable(name): stage for name, stage in judged_stages(report)}
    rows = [
        {"stage": stage, "figure": title, "kept": value}
        for stage, fidelity in named.items()
        for cosine, title in COSINES.items()
        if (value := getattr(fidelity, cosine)) is not None
    ]
    return charts.add(name, specs.stages(), height=24 * len(named), kept=rows, budget=_budget(report)) if rows else None


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
    if not rows:
        return None
    verdicts = tuple(dict.fromkeys(str(row["verdict"]) for row in rows))
    return charts.add("ratios", specs.ratios(verdicts), height=26 * len(rows), ratios=rows, one=[{"ratio": 1}])
