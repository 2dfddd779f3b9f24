"""`edgec sweep`: a matrix of builds, and which of them keep up with the camera."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgec.cli import options
from edgec.cli.console import err, out, plain
from edgec.cli.live import LiveDisplay

if TYPE_CHECKING:
    from rich.progress import TaskID

    from edgec.sweep.child import Outcome
    from edgec.sweep.matrix import Cell
    from edgec.sweep.schema import SweepReport

_LINE_S = 30.0


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

    whole_matrix = matrices.read(matrix, fps=fps, min_fidelity=min_fidelity)
    folder = output or Path(f"{matrix.stem}.sweep")
    with SweepDisplay(len(whole_matrix.cells)) as display:
        report = build_all(whole_matrix, folder, display, jobs=jobs, scheduler=scheduler, force=force)
    if as_json:
        click.echo(json.dumps(report.model_dump(mode="json"), indent=1))
    else:
        _print(report, folder)
    code = next((cell.exit_code for cell in report.cells if cell.exit_code), 0)
    if code:
        context.exit(code)


class SweepDisplay(LiveDisplay):
    """A live line for each cell at work on a terminal, and a plain line for each that ended; all on standard error."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self._total, self._ended = total, 0
        self._tasks: dict[str, TaskID] = {}
        self._last_line: dict[str, float] = {}
        self._lock = threading.Lock()

    def began(self, cell: Cell) -> None:
        """Adds its line."""
        with self._lock:
            self._tasks[cell.name] = self._live.add_task(cell.name, total=None, doing="starts")
            self._last_line[cell.name] = time.monotonic()

    def stage(self, cell: Cell, title: str) -> None:
        """Shows it in the live line; where there is none, as a line from time to time."""
        from rich.text import Text

        self._live.update(self._tasks[cell.name], doing=plain(title))
        if not err.is_terminal and time.monotonic() - self._last_line[cell.name] >= _LINE_S:
            self._last_line[cell.name] = time.monotonic()
            err.print(Text(f"{cell.name}: {plain(title)}"), soft_wrap=True)

    def ended(self, cell: Cell, outcome: Outcome) -> None:
        """Replaces the live line with a line that says what became of the cell."""
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
    from rich.text import Text

    from edgec.cli.tables import print_rows
    from edgec.report.sheets import Sheet
    from edgec.report.table import terminal_table
    from edgec.sweep import rendering
    from edgec.sweep.answer_matrix import answer_matrix, note_lines
    from edgec.sweep.schema import SWEEP
    from edgec.sweep.sweep import MARKDOWN

    def line(text: str) -> None:
        out.print(Text(text), soft_wrap=True)

    def table(sheet: Sheet) -> None:
        yes = tuple(index for index, row in enumerate(sheet.rows) if row[0] == "yes")
        print_rows(replace(sheet, strong=yes))

    line(rendering.question(report))
    line(f"{rendering.verdict_counts(report)}\n")
    matrix = answer_matrix(report)
    out.print(terminal_table(matrix.sheet, width=out.width))
    for note in note_lines(matrix):
        out.print(Text(note))
    out.print()
    table(rendering.answer_sheet(report))
    for ladder in rendering.ladders(report):
        line(f"\n{ladder.title}: {rendering.LADDER_MEANING}")
        table(ladder)
    line(f"\n{rendering.METHOD}")
    for doubt in rendering.doubts(report):
        err.print(Text(f"doubtful: {doubt}", style="yellow"), soft_wrap=True)
    for failure in rendering.failures(report):
        err.print(Text(f"failed: {failure}", style="red"), soft_wrap=True)
    line(f"report: {folder / SWEEP}, {folder / MARKDOWN}; as one page: edgec report {folder}")
