"""The campaign's figures as a table, and one input by itself."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.fuzz.running import FAILURES, Outcome, Tally, run
from edgec.records.reading import printable

_LINE_S = 30.0


def run_fuzz(kinds: Sequence[str], first: int, count: int | None, hours: float | None, jobs: int, folder: Path) -> int:
    """Returns the exit code: 1 if a goal was missed."""
    began = last_line = time.monotonic()
    tried = 0

    def on_outcome(outcome: Outcome) -> None:
        nonlocal last_line, tried
        tried += 1
        if outcome.failed:
            click.echo(f"{outcome.outcome}: {outcome.kind} {outcome.seed}: {printable(outcome.what)[:100]}", err=True)
        elif time.monotonic() - last_line > _LINE_S:
            click.echo(f"{tried} inputs in {time.monotonic() - began:.0f} s", err=True)
            last_line = time.monotonic()

    seconds = None if hours is None else hours * 3600
    tallies = run(
        kinds, folder, first=first, count=None if hours else count or 200, seconds=seconds, jobs=jobs, listener=on_outcome
    )
    Console(highlight=False, width=120).print(table(tallies))
    failed = sum(tally.failed for tally in tallies.values())
    tried = sum(tally.tried for tally in tallies.values())
    click.echo(f"\n{tried} tried in {time.monotonic() - began:.0f} s; goals: 0 failed.", nl=False)
    click.echo(f" {failed} FAILED: kept in {folder}" if failed else " Met.")
    return int(failed > 0)


def table(tallies: Mapping[str, Tally]) -> Table:
    """A row a kind: how many inputs were refused, accepted, or failed in which way."""
    result = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    result.add_column("kind")
    titles = ("tried", "refused", "accepted", *FAILURES, "slowest s", "most MB")
    for title in titles:
        result.add_column(title, justify="right", no_wrap=True)
    for kind, tally in tallies.items():
        counts = [str(tally.counts[name]) for name in titles[1:-2]]
        slowest = f"{tally.slowest.seconds:.1f}" if tally.slowest else ""
        largest = f"{tally.largest.peak_bytes / 1e6:.0f}" if tally.largest else ""
        result.add_row(kind, str(tally.tried), *counts, slowest, largest, style="bold red" if tally.failed else None)
    total = [sum(tally.counts[name] for tally in tallies.values()) for name in titles[1:-2]]
    result.add_row("all", str(sum(tally.tried for tally in tallies.values())), *map(str, total))
    return result


def show_one(kinds: Sequence[str], seed: int, folder: Path) -> int:
    """One input again, and all that was said."""
    if len(kinds) != 1:
        raise click.UsageError("--seed alone tries one input: name its --kind, or give --count or --hours too")
    outcomes: list[Outcome] = []
    run(kinds, folder, first=seed, count=1, listener=outcomes.append)
    (outcome,) = outcomes
    headline = f"{outcome.kind} {seed}: {outcome.outcome}, exit code {outcome.code}, {outcome.seconds:.2f} s, "
    out = Console(highlight=False)
    out.print(Text(f"{headline}{outcome.peak_bytes / 1e6:.0f} MB\n{printable(outcome.what)}\n"))
    sys.stdout.write("\n".join(map(printable, outcome.output.splitlines())) + "\n")
    return int(outcome.failed)
