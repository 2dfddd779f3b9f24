"""The cells of a matrix, several at a time. A cell that fails stops no other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Protocol

from edgec.sweep.child import Outcome, Stopped, run_cell
from edgec.sweep.matrix import Cell


class Listener(Protocol):
    """Is called as cells go on, each from a thread of its own."""

    def began(self, cell: Cell) -> None:
        """A cell starts."""

    def stage(self, cell: Cell, title: str) -> None:
        """One of its stages starts."""

    def ended(self, cell: Cell, outcome: Outcome) -> None:
        """A cell is done or has failed."""


class Runner(Protocol):
    """Where cells run, `slots` at once."""

    slots: int

    def run(self, cell: Cell, slot: int, still_wanted: Callable[[], bool], on_stage: Callable[[str], None]) -> Outcome:
        """Builds the cell, and calls `on_stage` with the title of each stage. Raises `Stopped` when `still_wanted` turns
        false."""


class Local:
    """Processes of this machine. Not dask's `LocalCluster`: that is an extra, tells no stages, gives a cell no log of its own,
    and cannot end a task that runs: each cell would have to be a process below a worker's."""

    def __init__(self, jobs: int) -> None:
        self.slots = jobs

    def run(self, cell: Cell, slot: int, still_wanted: Callable[[], bool], on_stage: Callable[[str], None]) -> Outcome:
        """In a process of its own; see `run_cell`."""
        return run_cell(cell.request, still_wanted, on_stage)


class Queue:
    """Cells in their order; but a cell whose first stages another one is just computing waits, if it can, until they are
    cached."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._left = list(cells)
        self._busy: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def take(self) -> Cell | None:
        """The next cell to build; None when none is left."""
        with self._lock:
            if not self._left:
                return None
            cell = next((cell for cell in self._left if cell.hub not in self._busy), self._left[0])
            self._left.remove(cell)
            self._busy.append(cell.hub)
            return cell

    def done(self, cell: Cell) -> None:
        """Its first stages are in the cache now: others that share them need not wait."""
        with self._lock:
            self._busy.remove(cell.hub)


def run_all(cells: Sequence[Cell], runner: Runner, listener: Listener) -> list[Outcome]:
    """What became of each, in their order. Ctrl-C, and errors that are not a cell's own (a log that cannot be written), end all
    cells that run and are raised."""
    queue, stop = Queue(cells), threading.Event()
    outcomes: dict[str, Outcome] = {}

    def work(slot: int) -> None:
        while not stop.is_set() and (cell := queue.take()) is not None:
            listener.began(cell)
            outcome = runner.run(cell, slot, lambda: not stop.is_set(), _stage_listener(listener, cell))
            outcomes[cell.name] = outcome
            queue.done(cell)
            listener.ended(cell, outcome)

    slots = max(1, min(runner.slots, len(cells)))
    with ThreadPoolExecutor(slots) as pool:
        try:
            futures = [pool.submit(work, slot) for slot in range(slots)]
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
    # A cell that was stopped because of another's error is not the reason.
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
        raise error
    return [outcomes[cell.name] for cell in cells]


def _stage_listener(listener: Listener, cell: Cell) -> Callable[[str], None]:
    return lambda title: listener.stage(cell, title)
