"""Data of the charts of heads and of the host's sensors, as `edgec.report.html.charts`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgec.onboard.figures import kept
from edgec.records.reading import printable
from edgec.records.report import CandidateFigures, Reading, Report, Run
from edgec.report.decisions import allowed_loss, budget_words, class_name, head_measures, head_of, lost
from edgec.report.grids import worst_classes
from edgec.report.html import head_specs
from edgec.report.html.charts import Charts
from edgec.report.html.series import rounded, thinned

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
    judged = [candidate for candidate in report.candidates if candidate.fidelity is not None]
    heads = head_measures(candidate.fidelity for candidate in judged)[:_MOST_HEADS]
    rows = [
        _mark(candidate, measure.words, lost(task), measure.cell(candidate.fidelity))
        for candidate in judged
        for measure in heads
        if (task := measure.find(candidate.fidelity)) is not None
    ]
    budgets = []
    for measure in heads:
        allowed = allowed_loss(report, measure.measure)
        if allowed is not None:
            budgets.append({"row": measure.words, "lost": rounded(allowed), "text": budget_words(report, measure.measure)})
    return _add(charts, name, "lost of float32's decisions", rows, budgets) if rows else None


def add_iou(charts: Charts, name: str, report: Report) -> tuple[tuple[str, str], ...]:
    """By title: a chart a head that gives masks, a row a class. Of many classes the chosen candidate's lowest."""
    judged = [candidate for candidate in report.candidates if candidate.fidelity is not None]
    result = []
    for number, measure in enumerate(head_measures(candidate.fidelity for candidate in judged)):
        if measure.measure != "masks":
            continue
        masks = [
            (candidate, task.masks.iou)
            for candidate in judged
            if (task := measure.find(candidate.fidelity)) is not None and task.masks is not None
        ]
        leading = next((iou for candidate, iou in masks if candidate.chosen), masks[0][1])
        classes = set(worst_classes(leading, _MOST_CLASSES))
        facts = head_of(report, measure.output)
        classes_of_head = facts.classes if facts else ()
        several = len(set(classes_of_head)) < len(classes_of_head)
        rows = [
            _mark(candidate, f"{index} " * several + class_name(classes_of_head, index), 1 - value, f"IoU {kept(value)}")
            for candidate, iou in masks
            for index, value in enumerate(iou)
            if index in classes and value is not None
        ]
        if rows:
            left_out = f", the {len(classes)} lowest of {len(leading)} classes" if len(classes) < len(leading) else ""
            title = f"{printable(measure.output)}: IoU by class{left_out}"
            result.append((title, _add(charts, f"{name}{number}", "lost: 1 − IoU with float32's mask", rows, [])))
    return tuple(result)


def _mark(candidate: CandidateFigures, row: str, loss: float, figure: str) -> dict[str, Any]:
    return {
        "row": row, "name": printable(candidate.name), "runtime": printable(candidate.runtime),
        "precision": printable(candidate.precision), "lost": rounded(max(loss, 0.0)), "kept": figure,
        "chosen": candidate.chosen,
    }  # fmt: skip


def _add(charts: Charts, name: str, title: str, rows: list[dict[str, Any]], budgets: list[dict[str, Any]]) -> str:
    precisions, runtimes, names, lines = (
        tuple(dict.fromkeys(str(row[field]) for row in rows)) for field in ("precision", "runtime", "name", "row")
    )
    height = (13 * len(names) + 14) * len(lines)
    return charts.add(name, head_specs.heads(precisions, runtimes, title), height=height, lost=rows, budget=budgets)


def add_readings(charts: Charts, name: str, run: Run) -> tuple[str, ...]:
    """A chart for each kind of sensor with two readings or more."""
    names = []
    for kind, series in sensors(run).items():
        drawn = {title: values for title, values in list(series.items())[: head_specs.MOST_SERIES] if len(values) > 1}
        rows = [
            {"s": rounded(values[index][0]), "name": title, "value": rounded(values[index][1])}
            for title, values in drawn.items()
            for index in thinned([value for _, value in values])
        ]
        if rows:
            spec = head_specs.readings(UNITS[kind], tuple(drawn))
            names.append(charts.add(f"{name}-{kind}", spec, readings=rows))
    return tuple(names)


def sensors(run: Run) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """By kind and sensor, the readings: seconds since the run began, and the value in the units of `UNITS`."""
    series_by_kind: dict[str, dict[str, list[tuple[float, float]]]] = {kind: {} for kind in UNITS}
    for reading in run.readings:
        for kind, values in _values_by_kind(reading).items():
            for sensor, value in values.items():
                series_by_kind[kind].setdefault(printable(sensor), []).append((reading.at_ms / 1000, value))
    return {kind: series for kind, series in series_by_kind.items() if series}


def _values_by_kind(reading: Reading) -> dict[str, dict[str, float]]:
    return {
        "temperature": reading.temperatures_c,
        "frequency": {} if reading.cpu_mhz is None else {"mean of the cores in use": reading.cpu_mhz},
        "power": {rail: value / 1000 for rail, value in reading.power_mw.items()},
        "memory": {} if reading.rss_bytes is None else {"all streams": reading.rss_bytes / 1e6},
    }
