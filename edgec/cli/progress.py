"""The build's progress on a terminal; one line a stage elsewhere."""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn
from rich.table import Table
from rich.text import Text

from edgec.cli.console import err, plain
from edgec.cli.interrupts import Interrupts
from edgec.cli.live import LiveDisplay, remaining
from edgec.progress import Step

if TYPE_CHECKING:
    from typing_extensions import Self


class BuildDisplay(LiveDisplay):
    """A live line for the running stage, and a plain line with its time once it is done. Everything goes to standard error.

    `verbose` also shows what the tools underneath log and warn of.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self._verbose = verbose
        self._interrupts = Interrupts()
        super().__init__(BarColumn(bar_width=16), MofNCompleteColumn(), remaining())

    def __enter__(self) -> Self:
        if self._verbose:
            logging.basicConfig(level=logging.INFO, handlers=[RichHandler(console=err, show_path=False)])
            logging.captureWarnings(True)
        else:
            warnings.simplefilter("ignore")
        self._interrupts.__enter__()
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        self._interrupts.__exit__(kind, error, trace)
        if error is not None:
            self._interrupts.check()  # a library may have made another error of it

    def settings(self, rows: Sequence[tuple[str, str]]) -> None:
        """A table of what the build was asked for."""
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for name, value in rows:
            table.add_row(Text(name, style="dim"), Text(plain(value), overflow="fold"))
        err.print(table)
        err.print()

    @contextlib.contextmanager
    def stage(self, title: str, total: int | None = None, *, alone: bool = False) -> Iterator[Step]:
        """The stage's live line while entered, then its time. Raises `KeyboardInterrupt` if there was one."""
        self._interrupts.check()
        task = self._live.add_task(title, total=total, doing="")
        begun = time.monotonic()

        def step(done: int = 1, doing: str = "") -> None:
            self._interrupts.check()
            self._live.update(task, advance=done, doing=plain(doing))

        try:
            yield step
        finally:
            self._live.remove_task(task)
        err.print(Text.assemble((f"{time.monotonic() - begun:7.1f} s  ", "dim"), title))
        self._interrupts.check()

    def note(self, text: str) -> None:
        """A yellow line."""
        err.print(Text(f"note: {plain(text)}", style="yellow"), soft_wrap=True)
