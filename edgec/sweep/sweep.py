"""A whole sweep: build the matrix's cells, judge what they answer, and write that as sweep.json and sweep.md."""

from __future__ import annotations

import datetime
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from edgec import __version__, durable
from edgec.durable import disk_is_full, sha256_of, try_lock, write_whole
from edgec.errors import ArtefactError, Busy
from edgec.paths import expand
from edgec.records.manifest import MANIFEST
from edgec.sweep import schema
from edgec.sweep.answers import answer_all, answers_of, in_order
from edgec.sweep.child import ENDING, LOGS, Outcome
from edgec.sweep.matrix import Cell, Matrix
from edgec.sweep.rendering import to_markdown
from edgec.sweep.running import Listener, Local, run_all
from edgec.sweep.schema import SWEEP, SweepReport

MARKDOWN = "sweep.md"
LOCK = ".sweep.lock"


def sweep(
    matrix: Matrix,
    folder: Path,
    listener: Listener,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    force: bool = False,
) -> SweepReport:
    """Builds every cell into `folder`, `jobs` at a time (here one by default, on a scheduler one a worker).

    A cell whose artefact is there already, built from the same inputs, is left as it is; one that fails stops no other.
    Interrupted or killed, the sweep leaves whole artefacts and a report of the cells that had ended, and goes on from there the
    next time. Raises `ArtefactError` if the folder cannot be written, `Busy` if another sweep is at work in it, and what
    `edgec.sweep.scheduler` raises.
    """
    folder = Path(os.path.abspath(expand(folder)))  # noqa: PTH100 - links stay: workers may have other ones
    with _claimed(folder):
        cells = [_with_output(cell, folder, force) for cell in matrix.cells]
        running_report = _RunningReport(matrix, folder, cells, listener)
        if scheduler is None:
            outcomes = run_all(cells, Local(jobs or 1), running_report)
        else:
            from edgec.sweep.scheduler import workers_of

            with workers_of(scheduler, jobs, folder, cells) as workers:
                outcomes = run_all(cells, workers, running_report)
        cells_done = tuple(_cell_facts(cell, outcome, folder) for cell, outcome in zip(cells, outcomes, strict=True))
        # Judged again: reports from boards may have come meanwhile.
        report = _report(matrix, cells_done, (), answer_all(folder, cells_done, matrix.fps, matrix.min_fidelity))
        _write_report(folder, report)
        return report


class _RunningReport:
    """A listener that writes the report so far whenever a cell has ended, and passes all calls on."""

    def __init__(self, matrix: Matrix, folder: Path, cells: Sequence[Cell], listener: Listener) -> None:
        self._matrix, self._folder, self._listener = matrix, folder, listener
        self._order = [cell.name for cell in cells]
        self._ended: dict[str, schema.Cell] = {}
        self._answers: list[schema.Answer] = []
        self._lock = threading.Lock()

    def began(self, cell: Cell) -> None:
        self._listener.began(cell)

    def stage(self, cell: Cell, title: str) -> None:
        self._listener.stage(cell, title)

    def ended(self, cell: Cell, outcome: Outcome) -> None:
        with self._lock:
            described = _cell_facts(cell, outcome, self._folder)
            self._ended[cell.name] = described
            self._answers += answers_of(self._folder, described, self._matrix.fps, self._matrix.min_fidelity)
            cells = tuple(self._ended[name] for name in self._order if name in self._ended)
            unfinished = tuple(name for name in self._order if name not in self._ended)
            # What cannot be written now is no reason to end: at the end it is tried again.
            with suppress(ArtefactError):
                _write_report(self._folder, _report(self._matrix, cells, unfinished, in_order(cells, self._answers)))
        self._listener.ended(cell, outcome)


def _report(
    matrix: Matrix, cells: tuple[schema.Cell, ...], unfinished: tuple[str, ...], answers: tuple[schema.Answer, ...]
) -> SweepReport:
    return SweepReport(
        edgec_version=__version__,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        fps=matrix.fps,
        min_fidelity=matrix.min_fidelity,
        cells=cells,
        unfinished=unfinished,
        answers=answers,
    )


def _with_output(cell: Cell, folder: Path, force: bool) -> Cell:
    return replace(cell, request=replace(cell.request, output=folder / f"{cell.name}{ENDING}", force=force))


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """While entered, the folder exists, can be written, and no other sweep works in it."""
    try:
        (folder / LOGS).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOGS / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ArtefactError(
            f"The sweep's folder {folder} cannot be written.", evidence=str(error), remedy="choose another folder with -o"
        ) from error
    try:
        if try_lock(descriptor) is False:
            raise Busy(f"Another sweep is at work in {folder}.", remedy="wait for its end, or choose another folder with -o")
        durable.sweep(folder)
        yield
    finally:
        os.close(descriptor)


def _write_report(folder: Path, report: SweepReport) -> None:
    """As sweep.json and sweep.md, each whole or not at all."""
    try:
        write_whole(folder / SWEEP, report.to_json().encode("utf-8"))
        write_whole(folder / MARKDOWN, to_markdown(report).encode("utf-8"))
    except OSError as error:
        full = disk_is_full(error, folder)
        raise ArtefactError(
            f"The sweep's report cannot be written to {folder}{': the disk is full' if full else ''}. Its artefacts are whole.",
            evidence=str(error),
            remedy="free some space, and run the same command again: it only writes the report",
        ) from error


def _cell_facts(cell: Cell, outcome: Outcome, folder: Path) -> schema.Cell:
    failed = outcome.exit_code != 0
    artefact, log = f"{cell.name}{ENDING}", f"{LOGS}/{cell.name}.log"
    return schema.Cell(
        name=cell.name,
        checkpoint=cell.checkpoint,
        target=cell.target,
        size=(cell.size.height, cell.size.width),
        precision=cell.precision,
        state="failed" if failed else "done",
        reused=outcome.reused,
        measured_alone=outcome.alone,
        exit_code=outcome.exit_code,
        error=outcome.error,
        detail=outcome.detail,
        log=log if (folder / log).is_file() else "",
        artefact=None if failed else artefact,
        build_key=outcome.build_key or None,
        artefact_sha256=None if failed else sha256_of(folder / artefact / MANIFEST),
        machine=outcome.machine,
        seconds=outcome.seconds,
    )
