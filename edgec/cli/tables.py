"""Tables that several commands print alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from edgec.onboard.figures import RUNS_FOR_P99, milliseconds, p99

_WIDEST = 1000

if TYPE_CHECKING:
    from edgec.onboard.statistics import Summary
    from edgec.records.report import Latency, Report, Spread
    from edgec.report.sheets import Sheet


def facts_table(rows: Iterable[tuple[str, str]]) -> Table:
    """A name and a text a row; long texts are wrapped."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(name), Text(text))
    return table


def spread_table(
    rows: Iterable[tuple[Sequence[str], Summary | Latency | Spread, Sequence[str]]], before: Sequence[str], behind: Sequence[str]
) -> Table:
    """A row a distribution, with cells before its figures and behind them; `before` and `behind` are the titles of these
    cells."""
    table = Table(*before, box=None, pad_edge=False)
    for title in ("min ms", "p50 ms", "p90 ms", "p99 ms", "max ms", "mean ms", *behind):
        table.add_column(title, justify="right")
    for first, spread, last in rows:
        runs = int(getattr(spread, "count", getattr(spread, "iterations", RUNS_FOR_P99)))
        below = map(milliseconds, (spread.min_ms, spread.p50_ms, spread.p90_ms))
        table.add_row(*first, *below, p99(spread.p99_ms, runs), *map(milliseconds, (spread.max_ms, spread.mean_ms)), *last)
    return table


def print_rows(sheet: Sheet) -> None:
    """A table that people compare down the columns: in a terminal no wider than that, elsewhere a line a row for scripts."""
    from edgec.cli.console import out, wide
    from edgec.report.table import terminal_table

    if out.is_terminal:
        out.print(terminal_table(sheet, width=out.width))
    else:
        wide(_WIDEST).print(terminal_table(sheet, wrap=False))


def print_shipped(report: Report) -> None:
    """What ships, its rate coloured by whether it keeps up with a camera; and what disturbed the measurement."""
    from edgec.cli.console import err, out
    from edgec.report.shipping import load_line, ships_parts
    from edgec.report.table import COLOURS

    out.print(Text.assemble(*((text, COLOURS[meaning]) for text, meaning in ships_parts(report))))
    if line := load_line(report):
        err.print(Text(f"Warning: {line}", "yellow"), soft_wrap=True)


def suitability(lacks: Sequence[str] | None, target: str) -> str:
    """What this machine lacks of `target`, in words; `lacks` is None where this edgec does not know the target."""
    if lacks is None:
        return f"the artefact is for {target}, of which this edgec has no profile"
    return f"it lacks {', '.join(lacks)} of {target}" if lacks else f"it has all that {target} requires"
