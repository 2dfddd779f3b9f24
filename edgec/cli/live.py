"""Live lines on a terminal, for what takes its time."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

from edgec.cli.console import err

if TYPE_CHECKING:
    from typing_extensions import Self


class LiveDisplay:
    """A line a task on standard error while entered, with `columns` between its name and its time; where standard error is no
    terminal, nothing. Tasks have a field `doing`, which is shown at the end of the line."""

    def __init__(self, *columns: ProgressColumn) -> None:
        self._live = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            *columns,
            TimeElapsedColumn(),
            TextColumn("{task.fields[doing]}", style="dim", markup=False),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()
