"""Tables for the terminal: any sheet, and the candidates of a report."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rich.cells import cell_len
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from edgec.records.reading import printable
from edgec.records.report import Report
from edgec.report.cells import ABSENT
from edgec.report.columns import EVIDENCE, candidates_sheet, fitting, informative
from edgec.report.decisions import head_of, violation_lines, words
from edgec.report.facts import repeats_line
from edgec.report.grids import chosen_rows
from edgec.report.sheets import Sheet, sheet, texts

_GAP = 2
_WORD = 40
"""Longer words, as of paths, are broken where there is no room for them."""
CHOSEN = "bold green"
"""The style of rows that are set off: what ships, or what was chosen."""
COLOURS = {"plain": "", "chosen": CHOSEN, "yes": "green", "no": "red", "not known": "yellow"}
"""What a colour means, in every command."""


def terminal_table(
    sheet: Sheet,
    *,
    wrap: bool = True,
    width: int | None = None,
    right: bool = False,
    styles: Mapping[int, str] = MappingProxyType({}),
) -> Table:
    """A table of at most `width` characters (by default the terminal's). Text and titles are wrapped between words, figures
    never; columns for which there is no room, from the right, are named below. Without `wrap` it is a line a row, however wide.
    The rows that are set off are bold and green; `styles` are those of other rows, by index. With `right`, all columns but the
    first are aligned to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    shown = [*enumerate(_natural(sheet))]
    if wrap:
        width = width or shutil.get_terminal_size().columns
        shown = _laid_out(sheet, width)
        left_out = [heading.title for index, heading in enumerate(sheet.headings) if index not in dict(shown)]
        note(table, no_room(left_out, width))
    for index, size in shown:
        heading = sheet.headings[index]
        justify: JustifyMethod = "right" if heading.number or (right and index) else "left"
        table.add_column(Text(heading.title), justify=justify, no_wrap=not wrap, overflow="fold", width=size if wrap else None)
    for index, row in enumerate(sheet.rows):
        table.add_row(*(Text(row[column]) for column, _ in shown), style=CHOSEN if index in sheet.strong else styles.get(index))
    return table


def note(table: Table, *lines: str) -> None:
    """Adds lines below a table; empty ones are left out."""
    text = "\n".join(filter(None, (str(table.caption or ""), *lines)))
    if text:
        table.caption, table.caption_justify, table.caption_style = Text(text), "left", ""


def no_room(titles: Sequence[str], width: int) -> str:
    """What a table of `width` characters leaves out; "" for nothing."""
    return f"no room at {width} columns for {', '.join(titles)}" if titles else ""


def _natural(sheet: Sheet) -> list[int]:
    """Of each column, the width at which nothing is wrapped."""
    columns = enumerate(sheet.headings)
    return [max(map(cell_len, (heading.title, *(row[index] for row in sheet.rows)))) for index, heading in columns]


def _least(sheet: Sheet) -> list[int]:
    """Of each column, the least width at which no word is broken, longer ones than `_WORD` aside."""

    def words(text: str) -> int:
        return min(_WORD, max(map(cell_len, text.split()), default=0))

    return [
        max(words(heading.title), *(cell_len(row[index]) if heading.number else words(row[index]) for row in sheet.rows), 0)
        for index, heading in enumerate(sheet.headings)
    ]


def _laid_out(sheet: Sheet, width: int) -> list[tuple[int, int]]:
    """The columns that are shown, by index, and their widths."""
    natural, least = _natural(sheet), _least(sheet)
    shown = list(range(len(natural)))
    while len(shown) > 1 and sum(least[index] for index in shown) + _GAP * (len(shown) - 1) > width:
        shown.pop()
    room = width - _GAP * (len(shown) - 1) - sum(least[index] for index in shown)
    sizes = {index: least[index] for index in shown}
    # The column that lacks least is filled first: most columns then need no second line.
    for place, index in enumerate(sorted(shown, key=lambda index: natural[index] - least[index])):
        more = min(natural[index] - least[index], max(0, room) // (len(shown) - place))
        sizes[index] += more
        room -= more
    return [(index, max(1, min(size, width))) for index, size in sizes.items()]


def candidates_table(report: Report, *, width: int | None = None) -> Table:
    """As many columns as `width` characters hold (by default the terminal's), the less important left out first.

    The chosen candidate says so, and is bold and green. Below the table stand the problems of candidates that failed, the columns
    for which there is no room and, if that
    of evidence did not fit, what kinds of evidence the figures are.
    """
    width = width or shutil.get_terminal_size().columns
    columns = fitting(report, width, _GAP)
    table = terminal_table(candidates_sheet(report, columns), width=width)
    notes = [f"{printable(c.name)}: {printable(c.problem)}" for c in report.candidates if c.problem]
    # Without heads the table itself shows whose cosine is too low.
    notes += violation_lines(report) if report.heads else ()
    kinds = [kind for kind in dict.fromkeys(map(EVIDENCE.cell, report.candidates)) if kind != ABSENT]
    if line := repeats_line(report):
        notes.append(line)
    if kinds and EVIDENCE not in columns:
        notes.append(f"figures: {'; '.join(kinds)}")
    shown = {EVIDENCE.title, *(column.title for column in columns)}
    left_out = [column.title for column in informative(report) if column.title not in shown]
    note(table, *notes, no_room(left_out, width))
    return table


def heads_table(report: Report) -> Table | None:
    """What the heads of the chosen candidate keep of float32's decisions, and their budgets; None where there are no heads."""
    rows = [
        (measure.output, words(task, head_of(report, measure.output)), budget) for measure, task, budget in chosen_rows(report)
    ]
    return terminal_table(sheet(texts("head", "kept of float32's decisions", "budget"), rows)) if rows else None
