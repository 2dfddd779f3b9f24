"""`edgec sweep`: a matrix of builds, and which of them keep up with the camera."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import click

from edgec.cli import options
from edgec.cli.console import err, out, plain, wide

if TYPE_CHECKING:
    from rich.progress import TaskID

    from edgec.sweep.child import Outcome
    from edgec.sweep.matrix import Cell
    from edgec.sweep.schema import SweepReport

_LINE_S = 30.0
_WIDEST = 1000
"""A line a row, however wide: cells are compared down the columns, and scripts read lines."""


@click.command(short_help="Build a matrix of checkpoints, targets, sizes and precisions.")
@click.argument("matrix", type=options.PathType())
@click.option(
    "-o", "--output", type=options.PathType(written=True), metavar="FOLDER",
    help="Where artefacts and the report go.  [default: the matrix's name, with .sweep]",
)  # fmt: skip
@click.option(
    "--jobs", type=click.IntRange(1, 256),
    help="Cells at once; each is measured alone all the same.  [default: 1; with --scheduler one a worker]",
)  # fmt: skip
@click.option("--scheduler", metavar="dask://HOST:PORT", help="Build on the workers of a dask scheduler that runs already.")
@click.option(
    "--fps", type=options.RealRange(0, 100_000, min_open=True), help="The camera's rate to ask for, instead of the file's."
)
@click.option(
    "--min-fidelity", type=options.RealRange(0, 1, min_open=True), help="The budget of every build, instead of the file's."
)
@click.option("--force", is_flag=True, help="Replace artefacts in FOLDER that were made of something else.")
@options.as_json
@click.pass_context
def sweep(
    context: click.Context,
    matrix: Path,
    output: Path | None,
    jobs: int | None,
    scheduler: str | None,
    fps: float | None,
    min_fidelity: float | None,
    force: bool,
    as_json: bool,
) -> None:
    """Build every cell of MATRIX, a TOML file, and say which model, at which size, on which board, keeps up with the camera.

    \b
    checkpoints = ["demo", "robot.pth"]       # or { name = "path" }
    targets = ["cpu", "jetson"]
    sizes = [224, "480x640"]
    precisions = ["auto"]
    calibration = "frames/"                   # also: validation, effort, iterations
    fps = 30
    min_fidelity = 0.99
    exclude = [{ target = "jetson", size = 224 }]
    include = [{ checkpoint = "demo", target = "apple", size = 448 }]

    Paths are relative to the file. A cell that fails stops no other; the same command again builds what is missing and leaves
    what is there. FOLDER gets an artefact a cell, logs, sweep.json and sweep.md. The exit code is the first failure's.
    """
    from edgec.sweep import matrix as matrices
    from edgec.sweep.sweep import sweep as build_all

    cells_and_goals = matrices.read(matrix, fps=fps, min_fidelity=min_fidelity)
    folder = output or Path(f"{matrix.stem}.sweep")
    with SweepDisplay(len(cells_and_goals.cells)) as shown:
        report = build_all(cells_and_goals, folder, shown, jobs=jobs, scheduler=scheduler, force=force)
    if as_json:
        click.echo(json.dumps(report.model_dump(mode="json"), indent=1))
    else:
        _print(report, folder)
    code = next((cell.exit_code for cell in report.cells if cell.exit_code), 0)
    if code:
        context.exit(code)


class SweepDisplay:
    """A live line a cell at work on a terminal, and a plain line for each that ended; all on standard error."""

    def __init__(self, total: int) -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._total, self._ended = total, 0
        self._tasks: dict[str, TaskID] = {}
        self._told: dict[str, float] = {}
        self._lock = threading.Lock()
        self._live = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[doing]}", style="dim", markup=False),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )

    def __enter__(self) -> SweepDisplay:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def began(self, cell: Cell) -> None:
        with self._lock:
            self._tasks[cell.name] = self._live.add_task(cell.name, total=None, doing="starts")
            self._told[cell.name] = time.monotonic()

    def stage(self, cell: Cell, title: str) -> None:
        from rich.text import Text

        self._live.update(self._tasks[cell.name], doing=plain(title))
        if not err.is_terminal and time.monotonic() - self._told[cell.name] >= _LINE_S:
            self._told[cell.name] = time.monotonic()
            err.print(Text(f"{cell.name}: {plain(title)}"), soft_wrap=True)

    def ended(self, cell: Cell, outcome: Outcome) -> None:
        from rich.text import Text

        with self._lock:
            self._live.remove_task(self._tasks.pop(cell.name))
            self._ended += 1
            what = "up to date" if outcome.reused else "done"
            if outcome.exit_code:
                what = f"failed, exit code {outcome.exit_code}: {plain(outcome.error)}"
            line = f"{outcome.seconds:7.1f} s  {self._ended:{len(str(self._total))}} of {self._total}  {cell.name}: {what}"
            err.print(Text(line, style="red" if outcome.exit_code else ""), soft_wrap=True)


def _print(report: SweepReport, folder: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    from edgec.sweep import rendering
    from edgec.sweep.schema import SWEEP
    from edgec.sweep.sweep import MARKDOWN

    whole = wide(_WIDEST)

    def table(titles: tuple[str, ...], rows: list[tuple[str, ...]], numbers: tuple[int, ...]) -> Table:
        made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for place, title in enumerate(titles):
            number = place in numbers
            made.add_column(Text(title), justify="right" if number else "left", no_wrap=True)
        for row in rows:
            made.add_row(*map(Text, row), style="bold" if row[0] == "yes" else None)
        return made

    def line(text: str) -> None:
        out.print(Text(text), soft_wrap=True)

    line(rendering.question(report))
    line(f"{rendering.count(report)}\n")
    whole.print(table(rendering.ANSWER_TITLES, rendering.answer_rows(report), rendering.ANSWER_NUMBERS))
    for ladder in rendering.ladders(report):
        line(f"\n{ladder.title}: {rendering.LADDER_MEANING}")
        whole.print(table(rendering.LADDER_TITLES, list(ladder.rows), rendering.LADDER_NUMBERS))
    line(f"\n{rendering.METHOD}")
    for doubt in rendering.doubts(report):
        err.print(Text(f"doubtful: {doubt}", style="yellow"), soft_wrap=True)
    for failure in rendering.failures(report):
        err.print(Text(f"failed: {failure}", style="red"), soft_wrap=True)
    line(f"report: {folder / SWEEP}, {folder / MARKDOWN}; as one page: edgec report {folder}")
