"""What a report's part of the page says of its heads, and of the host's sensors during its runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgec.records.reading import printable
from edgec.records.report import Report, Run
from edgec.report.decisions import beyond_lines
from edgec.report.grids import heads_grid, iou_grids, kept_grids
from edgec.report.html import sheets
from edgec.report.html.charts import Charts
from edgec.report.html.head_charts import UNITS, add_heads, add_iou, add_readings, sensors
from edgec.report.html.sheets import Sheet, sheet
from edgec.report.html.subjects import Subject

if TYPE_CHECKING:
    from edgec.report.html.images import ShownHeads

_MOST_CLASSES = 200


@dataclass(frozen=True)
class HeadSection:
    """`tables` by title; `iou` are charts by title; `pictures` None where there are none to show."""

    facts: Sheet
    chart: str | None
    beyond: tuple[str, ...]
    tables: tuple[tuple[str, Sheet], ...]
    iou: tuple[tuple[str, str], ...]
    iou_tables: tuple[tuple[str, Sheet], ...]
    pictures: ShownHeads | None


@dataclass(frozen=True)
class Sensed:
    """What the host's sensors said over one run."""

    title: str
    charts: tuple[str, ...]
    figures: Sheet


def head_section(charts: Charts, key: str, subject: Subject, *, rows: int) -> HeadSection | None:
    """None for a report without heads. `rows` of pictures at most, one a head at least."""
    report = subject.report
    facts = heads_grid(report)
    if facts is None:
        return None
    pictures = None
    if subject.heads is not None:
        from edgec.report.html.images import shown_heads

        pictures = shown_heads(subject.heads, rows)
    return HeadSection(
        facts=sheets.of_grid(facts), chart=add_heads(charts, f"{key}-heads", report), beyond=beyond_lines(report),
        tables=tuple((grid.title, sheets.of_grid(grid)) for grid in kept_grids(report)),
        iou=add_iou(charts, f"{key}-iou", report),
        iou_tables=tuple((grid.title, sheets.of_grid(grid)) for grid in iou_grids(report, _MOST_CLASSES)), pictures=pictures,
    )  # fmt: skip


def sensed(charts: Charts, key: str, report: Report) -> tuple[Sensed, ...]:
    """For each run during which the sensors said anything."""
    found = []
    for index, candidate in enumerate(report.candidates):
        for place, run in enumerate(candidate.runs):
            drawn = add_readings(charts, f"{key}-sensors{index}-{place}", run)
            figures = _figures(run)
            if figures is not None:
                title = f"{candidate.name}, {sheets.run_title(run)}, {run.seconds:.0f} s, {run.evidence.value}"
                found.append(Sensed(printable(title), drawn, figures))
    return tuple(found)


def _figures(run: Run) -> Sheet | None:
    rows = []
    for kind, series in sensors(run).items():
        for name, told in series.items():
            values = [value for _, value in told]
            cells = (values[0], min(values), sum(values) / len(values), max(values), values[-1])
            rows.append([UNITS[kind], name, *(f"{value:.4g}" for value in cells), str(len(values))])
    return sheet("what|sensor|first#|least#|mean#|most#|last#|readings#", rows) if rows else None
