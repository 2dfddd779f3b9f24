"""Live lines on a terminal, for what takes its time."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from edgec.cli.console import err

if TYPE_CHECKING:
    from typing_extensions import Self


class _Remaining(ProgressColumn):
    """How long a line is likely to take still, by its pace so far; nothing before two units are done."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """As in `~2:10 left`."""
        if task.total is None or task.completed < 2 or task.finished or task.elapsed is None:
            return Text("")
        seconds = int(task.elapsed / task.completed * (task.total - task.completed)) + 1
        return Text(f"~{seconds // 60}:{seconds % 60:02} left", style="cyan")


def remaining() -> ProgressColumn:
    """The column that says when a bar is likely to be full."""
    return _Remaining()


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
