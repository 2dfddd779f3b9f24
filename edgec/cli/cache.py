"""`edgec cache`: what is cached of builds, and making room."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from edgec.cli import options
from edgec.cli.console import out

if TYPE_CHECKING:
    from edgec.cache import Entry

_DAY_NS = 86_400 * 10**9


@click.group(invoke_without_command=True)
@click.pass_context
def cache(context: click.Context) -> None:
    """Show and shorten the cache of builds' stages.

    It stays below 10 GB by itself, or below EDGEC_CACHE_LIMIT_GB gigabytes: whenever a stage has ended, what was used longest ago
    goes first, and nothing that a running build uses. It is in EDGEC_CACHE_DIR, or the user's cache folder.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_entries)


@cache.command("list")
@click.option("--entries", "each", is_flag=True, help="A line for each result, the one that was used longest ago first.")
@options.as_json
def list_entries(each: bool = False, as_json: bool = False) -> None:
    """Say how much is cached of each stage, and when it was last used."""
    from edgec.cache import Cache, cache_size

    store = Cache()
    entries = store.entries()
    if as_json:
        document = {"path": str(store.root), "limit_bytes": store.limit_bytes, "bytes": cache_size()}
        click.echo(json.dumps({**document, "entries": [_json(entry) for entry in entries]}, indent=2))
        return
    if entries:
        out.print(_table([[entry] for entry in entries] if each else _by_stage(entries), each))
        out.print()
    used = sum(entry.size_bytes for entry in entries)
    out.print(f"{store.root}: {_size(used)} of at most {_size(store.limit_bytes)} (EDGEC_CACHE_LIMIT_GB)", soft_wrap=True)


@cache.command()
@click.option(
    "--to", "limit_gb", type=options.RealRange(0, 1e9), metavar="GB", help="How much may stay.  [default: the cache's limit]"
)
@click.option(
    "--unused-for", "days", type=options.RealRange(0, 36_500), metavar="DAYS",
    help="Also remove all that no build has used for so long.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@options.as_json
def prune(limit_gb: float | None, days: float | None, dry_run: bool, as_json: bool) -> None:
    """Remove what was used longest ago, until the rest is within the limit.

    Nothing that a running build uses is removed. What is gone is computed again when a build needs it; artefacts are not touched.
    """
    from edgec.cache import Cache

    store = Cache()
    limit = None if limit_gb is None else int(limit_gb * 1e9)
    since = None if days is None else time.time_ns() - int(days * _DAY_NS)
    removed, busy = store.prune(limit, unused_since_ns=since, dry_run=dry_run)
    stays = sum(entry.size_bytes for entry in store.entries())
    if as_json:
        document = {"dry_run": dry_run, "removed": list(map(_json, removed)), "in_use": list(map(_json, busy)), "bytes": stays}
        click.echo(json.dumps(document, indent=2))
        return
    freed = sum(entry.size_bytes for entry in removed)
    done = "would be removed" if dry_run else "removed"
    out.print(f"{done}: {_counted(removed)}, {_size(freed)}")
    if busy:
        out.print(f"in use and kept: {_counted(busy)}, {_size(sum(entry.size_bytes for entry in busy))}")
    out.print(f"in the cache: {_size(stays)}, at {store.root}", soft_wrap=True)


def _by_stage(entries: Sequence[Entry]) -> list[list[Entry]]:
    stages = sorted({entry.stage for entry in entries})
    groups = [[entry for entry in entries if entry.stage == stage] for stage in stages]
    return sorted(groups, key=lambda group: -sum(entry.size_bytes for entry in group))


def _table(groups: Sequence[Sequence[Entry]], each: bool) -> Any:
    from rich.table import Table

    table = Table("stage", "key" if each else "results", box=None, pad_edge=False)
    table.add_column("size", justify="right")
    table.add_column("last used")
    for group in groups:
        last = max(entry.used_ns for entry in group)
        which = group[0].path.name[:12] if each else str(len(group))
        table.add_row(group[0].stage, which, _size(sum(entry.size_bytes for entry in group)), _when(last))
    return table


def _json(entry: Entry) -> dict[str, Any]:
    return {"stage": entry.stage, "key": entry.path.name, "bytes": entry.size_bytes, "last_used": _when(entry.used_ns)}


def _counted(entries: Sequence[Entry]) -> str:
    return f"{len(entries)} result{'' if len(entries) == 1 else 's'}"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _when(ns: int) -> str:
    """UTC, to the second; times that no calendar has are shown as its ends."""
    seconds = min(max(ns // 10**9, 0), 253_402_300_799)
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat(timespec="seconds")
