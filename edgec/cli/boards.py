"""What commands that talk to boards share: their progress, and how several results are shown and answered for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from edgec.cli.console import err, plain, wide
from edgec.records.reading import printable

if TYPE_CHECKING:
    from edgec.boards.address import Address
    from edgec.boards.events import Event
    from edgec.boards.ssh import SshOptions
    from edgec.errors import EdgecError
    from edgec.records.report import Report

_QUIET = {"table", "measured", "wanted", "error", "end", "status", "progress"}
"""Events whose text comes otherwise, or at the end."""
_LINE_S = 10.0
_WIDEST = 1000
_NAME, _DETAIL = 60, 200
BURST, LINES_A_SECOND = 300, 5.0
"""Lines that one board may have printed at once, and on average after that. A board that says all that it can says some forty."""


def ssh_options(identity: Path | None, given: Sequence[str]) -> SshOptions:
    """ssh may ask for a password only where somebody can answer."""
    from edgec.boards.ssh import SshOptions

    return SshOptions(identity, tuple(given), ask=sys.stdin.isatty() and sys.stderr.isatty())


class BoardsDisplay:
    """A live line a board on a terminal, plain lines elsewhere, all on standard error. Of a single board everything is shown that
    it says; of several, what goes wrong and how far each is."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._names = [plain(address.given) for address in addresses]
        self._alone = len(addresses) == 1
        self._live = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[doing]}", style="dim", markup=False),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )

    def __enter__(self) -> BoardsDisplay:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    @property
    def listeners(self) -> list[Callable[[Event], None]]:
        """One a board, in their order. Each may be called in a thread of its own."""
        return [self._listener(name) for name in self._names]

    def _listener(self, name: str) -> Callable[[Event], None]:
        task = self._live.add_task(name, total=None, doing="connected")
        prefix = "" if self._alone else f"{name}: "
        last_line = time.monotonic()
        limit = _RateLimit()

        def on_event(event: Event) -> None:
            nonlocal last_line
            what = " ".join(filter(None, (printable(event.step[:_NAME]), printable(event.variant[:_NAME]))))
            if event.event == "progress":
                doing = printable(event.detail[:_DETAIL])
                self._live.update(
                    task, description=prefix + what, doing=doing, completed=event.done_bytes or 0, total=event.total_bytes
                )
                if not err.is_terminal and time.monotonic() - last_line >= _LINE_S:
                    last_line = time.monotonic()
                    self._say(limit, prefix, f"  {what}: {_amount(event)}{doing}")
                return
            if event.event == "step":
                self._live.update(task, description=prefix + what, doing="", completed=0, total=None)
            elif event.event == "end":
                self._live.update(task, description=prefix + "done" * (event.exit_code == 0), doing="", total=1, completed=1)
            is_shown = event.event not in _QUIET if self._alone else event.event in ("step", "problem")
            if event.text and is_shown and (self._alone or event.event == "problem" or not err.is_terminal):
                self._say(limit, prefix, event.text)

        return on_event

    @staticmethod
    def _say(limit: _RateLimit, prefix: str, text: str) -> None:
        for line in text.splitlines():
            if limit.take():
                err.print(Text(prefix + plain(line[:_WIDEST])), soft_wrap=True)
            elif limit.left_out == 1:
                err.print(Text(f"{prefix}(it says more than anybody can read; lines are left out)"), soft_wrap=True)


class _RateLimit:
    """For lines on the terminal: a board must not drown what others say, nor keep the workstation busy with printing."""

    def __init__(self) -> None:
        self._lines, self._looked = float(BURST), time.monotonic()
        self.left_out = 0

    def take(self) -> bool:
        now = time.monotonic()
        self._lines = min(BURST, self._lines + (now - self._looked) * LINES_A_SECOND)
        self._looked = now
        if self._lines < 1:
            self.left_out += 1
            return False
        self._lines -= 1
        return True


def _amount(event: Event) -> str:
    if event.total_bytes:
        return f"{(event.done_bytes or 0) / 1e6:.1f} of {event.total_bytes / 1e6:.1f} MB, "
    return f"{event.seconds:.0f} s, " if event.seconds is not None else ""


def raise_or_print_failures(context: click.Context, addresses: Sequence[Address], results: Sequence[Any]) -> None:
    """A single board's error is the command's own. Of several, each is printed, and the first's code is the command's."""
    from edgec.errors import EdgecError

    failed = [(address, result) for address, result in zip(addresses, results, strict=True) if isinstance(result, EdgecError)]
    if len(results) == 1 and failed:
        raise failed[0][1]
    for address, error in failed:
        for line in f"{address.given}: {error}".splitlines():
            err.print(Text(plain(line)), soft_wrap=True)
    if failed:
        context.exit(failed[0][1].exit_code)


def error_json(address: Address, error: EdgecError) -> dict[str, Any]:
    """An error for --json."""
    return {
        "board": address.given,
        "exit_code": error.exit_code,
        "error": {"what": error.what, "evidence": list(error.evidence), "remedy": error.remedy},
    }


def print_comparison(addresses: Sequence[Address], reports: Sequence[Report | None]) -> None:
    """A row for each board and variant, on standard output."""
    from edgec.boards.comparison import NUMBERS, TITLES, compare

    table = Table(box=None, pad_edge=False)
    for title in TITLES:
        table.add_column(title, justify="right" if title in NUMBERS else "left", no_wrap=True)
    for row in compare([(address.given, report) for address, report in zip(addresses, reports, strict=True)]):
        table.add_row(*(Text(printable(cell)) for cell in row.cells), style="bold" if row.chosen else None)
    # A line a row, however wide: boards are compared down the columns, and scripts read lines.
    whole = wide(_WIDEST)
    whole.print(table)
