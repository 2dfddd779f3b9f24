"""What commands that talk to boards share: working on them side by side, their progress, and how results and errors are shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.progress import BarColumn
from rich.text import Text

from edgec.cli.console import err, plain
from edgec.cli.live import LiveDisplay
from edgec.records.reading import printable

if TYPE_CHECKING:
    from edgec.boards.address import Address
    from edgec.boards.commands import Board
    from edgec.boards.events import Event
    from edgec.errors import EdgecError
    from edgec.records.report import Report

Result = TypeVar("Result")
_QUIET = {"table", "measured", "wanted", "error", "end", "status", "progress"}
"""Events whose text is shown otherwise, or at the end."""
_LINE_S = 10.0
_WIDEST = 1000
_NAME, _DETAIL = 60, 200
BURST, LINES_A_SECOND = 300, 5.0
"""Lines that one board may print at once, and on average after that. A board whose every step has something to say sends
forty."""


def on_boards(
    addresses: Sequence[Address],
    identity: Path | None,
    directory: str | None,
    ssh_option: Sequence[str],
    work: Callable[[Board], Result],
) -> list[Result | EdgecError]:
    """What `work` gives on each board, in their order, or the error that it ended with. ssh may ask for a password only where
    somebody can answer."""
    from edgec.boards.side_by_side import SideBySide
    from edgec.boards.ssh import SshOptions

    options = SshOptions(identity, tuple(ssh_option), ask=sys.stdin.isatty() and sys.stderr.isatty())
    with SideBySide(addresses, options, directory) as boards, BoardsDisplay(addresses) as display:
        return boards.each(work, display.listeners)


def results_json(addresses: Sequence[Address], results: Sequence[Any], describe: Callable[[Any], dict[str, Any]]) -> str:
    """A list with an object for each board: its result by `describe`, or its error."""
    import json

    from edgec.errors import EdgecError

    return json.dumps(
        [
            {"board": address.text, **(error_json(result) if isinstance(result, EdgecError) else describe(result))}
            for address, result in zip(addresses, results, strict=True)
        ],
        indent=2,
    )


def error_json(error: EdgecError) -> dict[str, Any]:
    """An error for --json."""
    return {
        "exit_code": error.exit_code,
        "error": {"what": error.what, "evidence": list(error.evidence), "remedy": error.remedy},
    }


class BoardsDisplay(LiveDisplay):
    """A live line a board on a terminal, plain lines elsewhere, all on standard error. A single board's messages are all shown;
    of several boards, what goes wrong and how far each has come."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._names = [plain(address.text) for address in addresses]
        self._alone = len(addresses) == 1
        super().__init__(BarColumn(bar_width=24))

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
                err.print(Text(f"{prefix}(it sends more than anybody can read; lines are left out)"), soft_wrap=True)


class _RateLimit:
    """Bounds the lines of one board: it must not drown what others say, nor keep the workstation busy with printing."""

    def __init__(self) -> None:
        self._lines, self._looked = float(BURST), time.monotonic()
        self.left_out = 0

    def take(self) -> bool:
        """Whether another line may be printed now."""
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
    """Ends the command if a board failed. A single board's error is raised; of several boards, each error is printed, and the
    first one's exit code is the command's."""
    from edgec.errors import EdgecError

    failed = [(address, result) for address, result in zip(addresses, results, strict=True) if isinstance(result, EdgecError)]
    if len(results) == 1 and failed:
        raise failed[0][1]
    for address, error in failed:
        for line in f"{address.text}: {error}".splitlines():
            err.print(Text(plain(line)), soft_wrap=True)
    if failed:
        context.exit(failed[0][1].exit_code)


def print_comparison(addresses: Sequence[Address], reports: Sequence[Report | None]) -> None:
    """A row for each board and variant, on standard output."""
    from edgec.boards.comparison import NUMBERS, TITLES, compare
    from edgec.cli.tables import print_rows
    from edgec.report.sheets import Heading, sheet

    rows = compare([(address.text, report) for address, report in zip(addresses, reports, strict=True)])
    chosen = [index for index, row in enumerate(rows) if row.chosen]
    table = sheet([Heading(title, title in NUMBERS) for title in TITLES], [row.cells for row in rows], chosen)
    print_rows(table)
