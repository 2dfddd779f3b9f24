"""The candidates of a report as a table for the terminal."""

from __future__ import annotations

import shutil

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from edgec.records.reading import printable
from edgec.records.report import Report
from edgec.report.columns import ABSENT, EVIDENCE, fitting
from edgec.report.decisions import beyond_lines, head_of, words
from edgec.report.grids import chosen_rows

_GAP = 2


def candidates_table(report: Report, *, width: int | None = None) -> Table:
    """As many columns as `width` characters hold (by default the terminal's), the less telling left out first.

    The chosen candidate says so and is bold; a candidate that failed says why below the table, and there stands what kinds of
    evidence the figures are where that column found no room.
    """
    columns = fitting(report.candidates, width or shutil.get_terminal_size().columns, _GAP)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), caption_justify="left", caption_style="")
    for column in columns:
        justify: JustifyMethod = "right" if column.number else "left"
        table.add_column(column.title, justify=justify, no_wrap=column.number, overflow="fold", header_style="bold")
    for candidate in report.candidates:
        cells = (Text(column.cell(candidate)) for column in columns)
        table.add_row(*cells, style="bold" if candidate.chosen else None)
    notes = [f"{printable(c.name)}: {printable(c.problem)}" for c in report.candidates if c.problem]
    # Without heads the table itself shows whose cosine is too low.
    notes += beyond_lines(report) if report.heads else ()
    kinds = [kind for kind in dict.fromkeys(map(EVIDENCE.cell, report.candidates)) if kind != ABSENT]
    if kinds and EVIDENCE not in columns:
        notes.append(f"figures: {'; '.join(kinds)}")
    if notes:
        table.caption = Text("\n".join(notes))
    return table


def heads_table(report: Report) -> Table | None:
    """What the heads of the chosen candidate keep of float32's decisions, and their budgets; None where there are no heads."""
    rows = chosen_rows(report)
    if not rows:
        return None
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for title in ("head", "kept of float32's decisions", "budget"):
        table.add_column(title, overflow="fold", header_style="bold")
    for each, task, budget in rows:
        cells = (printable(each.output), words(task, head_of(report, each.output)), budget)
        table.add_row(*map(Text, cells))
    return table
