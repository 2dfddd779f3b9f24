"""A table as plain text, which Markdown, pages and the terminal render each in their way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from edgec.onboard.figures import ABSENT
from edgec.records.reading import printable


@dataclass(frozen=True)
class Heading:
    """Above a column. Columns of numbers are aligned to the right."""

    title: str
    number: bool = False


def texts(*titles: str) -> tuple[Heading, ...]:
    """Columns of text."""
    return tuple(map(Heading, titles))


def numbers(*titles: str) -> tuple[Heading, ...]:
    """Columns of numbers."""
    return tuple(Heading(title, number=True) for title in titles)


@dataclass(frozen=True)
class Sheet:
    """Titles and cells are one line each, printable, and not escaped for anything. `strong` are the rows that are set off, by
    index."""

    headings: tuple[Heading, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: tuple[int, ...] = ()
    title: str = ""


def sheet(headings: Iterable[Heading], rows: Iterable[Sequence[str]], strong: Iterable[int] = (), title: str = "") -> Sheet:
    """A table of any texts, made printable."""
    return Sheet(
        tuple(Heading(printable(heading.title), heading.number) for heading in headings),
        tuple(tuple(map(printable, row)) for row in rows),
        tuple(strong),
        title,
    )


def varying(sheet: Sheet) -> tuple[Sheet, tuple[tuple[str, str], ...]]:
    """The table without the columns in which all of several rows are alike, and what these columns say, by title; the first
    column stays. Columns in which no row has anything are left out."""
    if len(sheet.rows) < 2:
        return sheet, ()
    cells = list(zip(*sheet.rows, strict=True))
    kept = [index for index, column in enumerate(cells) if index == 0 or len(set(column)) > 1]
    same = tuple(
        (sheet.headings[index].title, column[0])
        for index, column in enumerate(cells)
        if index not in kept and column[0] != ABSENT
    )
    rows = tuple(tuple(row[index] for index in kept) for row in sheet.rows)
    return replace(sheet, headings=tuple(sheet.headings[index] for index in kept), rows=rows), same
