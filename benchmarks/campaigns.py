"""What campaigns of kills, small disks and flipped bits print. Each returns an exit code: 1 if anything did not hold."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from rich.console import Console

from benchmarks import small
from benchmarks.disturbed import Figures
from edgec.report.sheets import numbers, sheet, texts
from edgec.report.table import terminal_table

Listener = Callable[[int, str], None]
_LINE_S = 30.0


def show(what: str, run: Callable[[int, int, Listener], Figures], count: int, seed: int) -> int:
    """Runs the campaign and prints its counts and problems. Returns the exit code."""
    began = last_line = time.monotonic()

    def on_turn(turn: int, problem: str) -> None:
        nonlocal last_line
        if problem:
            click.echo(f"turn {turn}: {problem}", err=True)
        elif time.monotonic() - last_line > _LINE_S:
            click.echo(f"{turn + 1} of {count} in {time.monotonic() - began:.0f} s", err=True)
            last_line = time.monotonic()

    figures = run(count, seed, on_turn)
    for name, number in sorted(figures.counts.items()):
        click.echo(f"{number:5}  {name}")
    problems = len(figures.problems)
    click.echo(
        f"{figures.tried} {what} in {time.monotonic() - began:.0f} s: {problems or 'no'} problem{'' if problems == 1 else 's'}"
    )
    return int(problems > 0)


def run_flips(families: Sequence[str], count: int, seed: int) -> int:
    """Goal: every flip is refused, and none breaks `verify`."""
    from benchmarks.flips import run

    rows = []
    bad = 0
    with tempfile.TemporaryDirectory(prefix="edgec-flips-") as name:
        folder = Path(name)
        os.environ["EDGEC_CACHE_DIR"] = str(folder / "cache")
        small.prepare(folder)
        for family in families:
            small.build(folder, family, folder / f"{family}.edgec")
            began = time.monotonic()
            flips = run(folder / f"{family}.edgec", count, seed)
            for where in (*flips.unnoticed[:20], *flips.broken[:20]):
                click.echo(f"{family}: {where}", err=True)
            bad += len(flips.unnoticed) + len(flips.broken)
            figures = (flips.tried, len(flips.unnoticed), len(flips.broken), round(time.monotonic() - began))
            rows.append((family, *map(str, figures)))
    headings = texts("artefact") + numbers("flips", "unnoticed", "broke verify", "s")
    Console(highlight=False, width=120).print(terminal_table(sheet(headings, rows)))
    return int(bad > 0)
