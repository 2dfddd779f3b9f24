"""The build's progress on a terminal; one line a stage elsewhere."""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from types import TracebackType

from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from edgec.cli.console import err, plain
from edgec.cli.interrupts import Interrupts
from edgec.progress import Step


class BuildDisplay:
    """A live line for the running stage, and a plain line with its time once it is done. Everything goes to standard error.

    `verbose` also shows what the tools underneath log and warn of.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self._verbose = verbose
        self._interrupts = Interrupts()
        self._live = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[doing]}", style="dim", markup=False),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )

    def __enter__(self) -> BuildDisplay:
        if self._verbose:
            logging.basicConfig(level=logging.INFO, handlers=[RichHandler(console=err, show_path=False)])
            logging.captureWarnings(True)
        else:
            warnings.simplefilter("ignore")
        self._interrupts.__enter__()
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()
        self._interrupts.__exit__(kind, error, trace)
        if error is not None:
            self._interrupts.check()  # a library may have made another error of it

    def settings(self, rows: Sequence[tuple[str, str]]) -> None:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for name, value in rows:
            table.add_row(Text(name, style="dim"), Text(plain(value), overflow="fold"))
        err.print(table)
        err.print()

    @contextlib.contextmanager
    def stage(self, title: str, total: int | None = None, *, alone: bool = False) -> Iterator[Step]:
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
        err.print(Text(f"note: {plain(text)}", style="yellow"), soft_wrap=True)
