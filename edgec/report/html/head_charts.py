"""Data of the charts of heads and of a host's sensors, as `edgec.report.html.charts`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgec.records.reading import printable
from edgec.records.report import CandidateFigures, Reading, Report, Run
from edgec.report.decisions import bound, budget_words, class_name, decided, head_of, lost
from edgec.report.grids import worst_classes
from edgec.report.html import head_specs
from edgec.report.html.charts import Charts
from edgec.report.html.series import rounded, thinned
from edgec.report.points import FLOOR

_MOST_HEADS, _MOST_CLASSES = 40, 30
"""Rows of a chart."""
UNITS: Final[Mapping[str, str]] = {
    "temperature": "temperature, °C",
    "frequency": "frequency of the cores, MHz",
    "power": "power, W",
    "memory": "resident memory, MB",
}


def add_heads(charts: Charts, name: str, report: Report) -> str | None:
    """What every candidate's heads lost."""
    judged = [each for each in report.candidates if each.fidelity is not None]
    heads = decided(each.fidelity for each in judged)[:_MOST_HEADS]
    rows = [
        _mark(candidate, each.words, lost(task), each.cell(candidate.fidelity))
        for candidate in judged
        for each in heads
        if (task := each.find(candidate.fidelity)) is not None
    ]
    budgets = []
    for each in heads:
        limit = bound(report, each.measure)
        if limit is not None:
            allowed = limit if each.measure == "depths" else 1 - limit
            budgets.append({"row": each.words, "lost": max(rounded(allowed), FLOOR), "text": budget_words(report, each.measure)})
    return _add(charts, name, "lost of float32's decisions", rows, budgets) if rows else None


def add_iou(charts: Charts, name: str, report: Report) -> tuple[tuple[str, str], ...]:
    """By title: a chart a head that gives masks, a row a class. Of many classes the chosen candidate's lowest."""
    judged = [each for each in report.candidates if each.fidelity is not None]
    found = []
    for number, each in enumerate(decided(candidate.fidelity for candidate in judged)):
        if each.measure != "masks":
            continue
        masks = [
            (candidate, task.masks.iou)
            for candidate in judged
            if (task := each.find(candidate.fidelity)) is not None and task.masks is not None
        ]
        leading = next((iou for candidate, iou in masks if candidate.chosen), masks[0][1])
        classes = set(worst_classes(leading, _MOST_CLASSES))
        facts = head_of(report, each.output)
        named = facts.classes if facts else ()
        several = len(set(named)) < len(named)
        rows = [
            _mark(candidate, f"{index} " * several + class_name(named, index), 1 - value, f"IoU {value:.5f}")
            for candidate, iou in masks
            for index, value in enumerate(iou)
            if index in classes and value is not None
        ]
        if rows:
            left_out = f", the {len(classes)} lowest of {len(leading)} classes" if len(classes) < len(leading) else ""
            title = f"{printable(each.output)}: IoU by class{left_out}"
            found.append((title, _add(charts, f"{name}{number}", "lost: 1 − IoU with float32's mask", rows, [])))
    return tuple(found)


def _mark(candidate: CandidateFigures, row: str, loss: float, kept: str) -> dict[str, Any]:
    return {
        "row": row, "name": printable(candidate.name), "runtime": printable(candidate.runtime),
        "precision": printable(candidate.precision), "lost": max(rounded(loss), FLOOR), "kept": kept, "chosen": candidate.chosen,
    }  # fmt: skip


def _add(charts: Charts, name: str, title: str, rows: list[dict[str, Any]], budgets: list[dict[str, Any]]) -> str:
    precisions, runtimes, names, lines = (
        tuple(dict.fromkeys(str(row[field]) for row in rows)) for field in ("precision", "runtime", "name", "row")
    )
    height = (13 * len(names) + 14) * len(lines)
    return charts.add(name, head_specs.heads(precisions, runtimes, title), height=height, lost=rows, budget=budgets)


def add_readings(charts: Charts, name: str, run: Run) -> tuple[str, ...]:
    """A chart a kind of sensor that told anything at two moments."""
    found = []
    for kind, series in sensors(run).items():
        drawn = {title: values for title, values in list(series.items())[: head_specs.MOST_SERIES] if len(values) > 1}
        rows = [
            {"s": rounded(values[place][0]), "name": title, "value": rounded(values[place][1])}
            for title, values in drawn.items()
            for place in thinned([value for _, value in values]).places
        ]
        if rows:
            spec = head_specs.readings(UNITS[kind], tuple(drawn))
            found.append(charts.add(f"{name}-{kind}", spec, readings=rows))
    return tuple(found)


def sensors(run: Run) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """By kind and sensor: seconds since the run began, and what it said, in the units of `UNITS`."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {kind: {} for kind in UNITS}
    for reading in run.readings:
        for kind, told in _told(reading).items():
            for sensor, value in told.items():
                found[kind].setdefault(printable(sensor), []).append((reading.at_ms / 1000, value))
    return {kind: series for kind, series in found.items() if series}


def _told(reading: Reading) -> dict[str, dict[str, float]]:
    return {
        "temperature": reading.temperatures_c,
        "frequency": {} if reading.cpu_mhz is None else {"mean of the cores in use": reading.cpu_mhz},
        "power": {rail: value / 1000 for rail, value in reading.power_mw.items()},
        "memory": {} if reading.rss_bytes is None else {"all streams": reading.rss_bytes / 1e6},
    }
