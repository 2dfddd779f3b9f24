"""What a report's part of the page says of its heads, and of the host's sensors during its runs."""

from __future__ import annotations

from typing import Any

from edgec.records.reading import printable
from edgec.records.report import Report, Run
from edgec.report.decisions import violation_lines
from edgec.report.grids import fidelity_grids, heads_grid, iou_grids
from edgec.report.html import sheets
from edgec.report.html.charts import Charts
from edgec.report.html.head_charts import UNITS, add_heads, add_iou, add_readings, sensors
from edgec.report.html.subjects import Subject
from edgec.report.sheets import Sheet, numbers, sheet, texts

_MOST_CLASSES = 200


def head_section(charts: Charts, key: str, subject: Subject, *, rows: int) -> dict[str, Any] | None:
    """What the template shows of a report's heads, by the template's names; None for a report without heads. At most `rows` rows
    of pictures, but one for each head at least."""
    report = subject.report
    facts = heads_grid(report)
    if facts is None:
        return None
    pictures = None
    if subject.heads is not None:
        from edgec.report.html.images import shown_heads

        pictures = shown_heads(subject.heads, rows)
    return {
        "facts": facts,
        "chart": add_heads(charts, f"{key}-heads", report),
        "violations": violation_lines(report),
        "tables": fidelity_grids(report),
        "iou": add_iou(charts, f"{key}-iou", report),
        "iou_tables": iou_grids(report, _MOST_CLASSES),
        "pictures": pictures,
    }


def sensed(charts: Charts, key: str, report: Report) -> list[dict[str, Any]]:
    """Title, charts and figures of each run during which the host's sensors said anything."""
    result = []
    for index, candidate in enumerate(report.candidates):
        for number, run in enumerate(candidate.runs):
            drawn = add_readings(charts, f"{key}-sensors{index}-{number}", run)
            figures = _figures(run)
            if figures is not None:
                title = f"{candidate.name}, {sheets.run_title(run)}, {run.seconds:.0f} s, {run.evidence.value}"
                result.append({"title": printable(title), "charts": drawn, "figures": figures})
    return result


def _figures(run: Run) -> Sheet | None:
    rows = []
    for kind, series in sensors(run).items():
        for name, readings in series.items():
            values = [value for _, value in readings]
            cells = (values[0], min(values), sum(values) / len(values), max(values), values[-1])
            rows.append([UNITS[kind], name, *(f"{value:.4g}" for value in cells), str(len(values))])
    headings = texts("what", "sensor") + numbers("first", "least", "mean", "most", "last", "readings")
    return sheet(headings, rows) if rows else None
