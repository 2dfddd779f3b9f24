"""Tables for the terminal: any sheet, and the candidates of a report."""

from __future__ import annotations

import shutil

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from edgec.records.reading import printable
from edgec.records.report import Report
from edgec.report.cells import ABSENT
from edgec.report.columns import EVIDENCE, candidates_sheet, fitting
from edgec.report.decisions import head_of, violation_lines, words
from edgec.report.facts import repeats_line
from edgec.report.grids import chosen_rows
from edgec.report.sheets import Sheet, sheet, texts

_GAP = 2


def terminal_table(sheet: Sheet, *, wrap: bool = True) -> Table:
    """Numbers are never wrapped; text is, unless `wrap` is False. The rows that are set off are bold."""
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for heading in sheet.headings:
        justify: JustifyMethod = "right" if heading.number else "left"
        table.add_column(Text(heading.title), justify=justify, no_wrap=heading.number or not wrap, overflow="fold")
    for index, row in enumerate(sheet.rows):
        table.add_row(*map(Text, row), style="bold" if index in sheet.strong else None)
    return table


def candidates_table(report: Report, *, width: int | None = None) -> Table:
    """As many columns as `width` characters hold (by default the terminal's), the less important left out first.

    The chosen candidate says so and is bold. Below the table stand the problems of candidates that failed and, if the column
    of evidence did not fit, what kinds of evidence the figures are.
    """
    columns = fitting(report.candidates, width or shutil.get_terminal_size().columns, _GAP)
    table = terminal_table(candidates_sheet(report, columns))
    notes = [f"{printable(c.name)}: {printable(c.problem)}" for c in report.candidates if c.problem]
    # Without heads the table itself shows whose cosine is too low.
    notes += violation_lines(report) if report.heads else ()
    kinds = [kind for kind in dict.fromkeys(map(EVIDENCE.cell, report.candidates)) if kind != ABSENT]
    if line := repeats_line(report):
        notes.append(line)
    if kinds and EVIDENCE not in columns:
        notes.append(f"figures: {'; '.join(kinds)}")
    if notes:
        table.caption, table.caption_justify, table.caption_style = Text("\n".join(notes)), "left", ""
    return table


def heads_table(report: Report) -> Table | None:
    """What the heads of the chosen candidate keep of float32's decisions, and their budgets; None where there are no heads."""
    rows = [
        (measure.output, words(task, head_of(report, measure.output)), budget) for measure, task, budget in chosen_rows(report)
    ]
    return terminal_table(sheet(texts("head", "kept of float32's decisions", "budget"), rows)) if rows else None
