"""Latency, cold start and memory of candidates, interleaved, so that the machine's noise hits all alike.

Every candidate has a worker process of its own. Rounds go over the workers in random order; in a round each runs one block, about
a second long and at most ten iterations. A block begins with unrecorded runs, at least one and a tenth of a second of them, so
that cores and caches that are cold after the other candidates' turns, or their threads that still spin, do not slow down the
recorded runs. While one works, the others wait. Candidates that are clearly slower after a first heat may be left out from then
on, so that the time goes to those that are close to each other.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from edgec.host.facts import available_cores
from edgec.latency.bootstrap import SampledRun
from edgec.latency.pairing import sampled
from edgec.latency.process import Worker, save_frames
from edgec.latency.recording import Measurement as Measurement
from edgec.latency.recording import Recording
from edgec.lowering.base import LoweredModel
from edgec.onboard.statistics import MAX_BLOCK, block_size, enough
from edgec.records.evidence import Evidence

# A loaded model's memory is up to three times its files (read, converted, packed for the CPU) beside the runtime itself.
_COPIES = 3
_RUNTIME_BYTES = 256 << 20
_MEMORY_SHARE = 0.7

_ROUNDS_MORE = 5
"""Rounds between two looks at whether candidates are told apart."""
HEAT = 20
"""Iterations after which it is decided which candidates go on."""

GoesOn = Callable[[dict[int, float]], set[int]]
"""From the medians so far, in ms, by candidate, to the candidates that are to be measured in full."""
Undecided = Callable[[dict[int, SampledRun]], set[int]]
"""From the samples so far, by candidate, to the candidates that are to be measured longer; none of them ends the measurement."""
Progress = Callable[[str, int, int], None]
"""Called with what is being done, and how many of all iterations are done."""


@dataclass
class _Meter:
    """Reports to `progress` how far all candidates are. `behind` is the number of iterations in groups that are done."""

    progress: Progress | None
    total: int
    behind: int = 0

    def __call__(self, doing: str, done: int = 0) -> None:
        if self.progress is not None:
            self.progress(doing, self.behind + done, self.total)


class _Candidate(Recording):
    """A candidate with its one worker."""

    def __init__(self, name: str, worker: Worker) -> None:
        super().__init__(name)
        self.worker = worker
        self.iterations = 0
        """Iterations."""

    @property
    def sampled(self) -> SampledRun:
        """The samples so far."""
        return sampled(self.samples_ms, self.blocks)

    def finished(self, max_seconds: float) -> bool:
        """Whether it has been measured, or failed."""
        return bool(self.problem) or enough(self.samples_ms, self.iterations, max_seconds)


def measure(
    candidates: Sequence[LoweredModel],
    frames: NDArray[np.uint8],
    *,
    threads: int | None = None,
    iterations: int = 100,
    max_seconds: float = 60.0,
    seed: int = 0,
    names: Sequence[str] | None = None,
    goes_on: GoesOn | None = None,
    undecided: Undecided | None = None,
    longer_seconds: float = 0.0,
    progress: Progress | None = None,
    evidence: Evidence,
) -> list[Measurement]:
    """Measures `candidates`, in their order, on `frames`, uint8 [M, N, H, W, 3]: M batches, taken in turn.

    `iterations` runs are recorded for each, or fewer if they take over `max_seconds` (`statistics.enough`), or if `goes_on`
    leaves the candidate out after `HEAT`. Those that are `undecided` then go on, for `longer_seconds` at most. `threads`: by
    default the usable cores, quota included. A candidate that fails or crashes has a `problem`; the others are measured all the
    same. Candidates that do not fit into memory together are interleaved in groups that do. `names` are those that `progress`
    shows; by default runtimes and directories.
    """
    threads = threads or available_cores()
    names = names or [f"{model.runtime} {model.directory.name}" for model in candidates]
    meter = _Meter(progress, iterations * len(candidates))
    results: list[Measurement] = []
    medians: dict[int, float] = {}
    rounds = count()
    with tempfile.TemporaryDirectory(prefix="edgec-latency-") as folder:
        scratch = Path(folder)
        saved = save_frames(scratch, frames)
        budget = memory_budget()
        for group in groups([model.size_bytes for model in candidates], budget):
            meter.behind = iterations * len(results)
            with ExitStack() as stack:
                runs = []
                for index in group:
                    meter(f"loading {names[index]}")
                    # One after another: interpreters that start together would take time from one another.
                    worker = stack.enter_context(Worker(candidates[index], str(index), scratch))
                    run = _Candidate(names[index], worker)
                    with run.problem_noted(worker):
                        run.starts = [worker.load(saved, threads)]
                    runs.append(run)
                _warm(runs, meter)
                order = random.Random(seed)  # noqa: S311 - an order, not a secret
                _interleave(runs, min(HEAT, iterations) if goes_on else iterations, max_seconds, order, rounds, meter)
                medians |= {at: statistics.median(run.samples_ms) for at, run in zip(group, runs, strict=True) if not run.problem}
                if goes_on:
                    finalists = goes_on(medians)
                    final = [run for at, run in zip(group, runs, strict=True) if at in finalists]
                    _interleave(final, iterations, max_seconds, order, rounds, meter)
                if undecided:
                    _tell_apart(dict(zip(group, runs, strict=True)), undecided, longer_seconds, order, rounds, meter)
                _finish(runs, meter, iterations)
                results.extend(run.result(frames.shape[1], evidence) for run in runs)
    return results


def memory_budget() -> int:
    """The bytes of memory that all workers together may take."""
    return int(_MEMORY_SHARE * psutil.virtual_memory().available)


def groups(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Consecutive indices of models, whose files have these `sizes` in bytes, in groups that fit into `budget` bytes of memory;
    each group has at least one."""
    fitting: list[list[int]] = []
    used = 0
    for index, size in enumerate(sizes):
        need = _COPIES * size + _RUNTIME_BYTES
        if not fitting or used + need > budget:
            fitting.append([])
            used = 0
        fitting[-1].append(index)
        used += need
    return fitting


def _warm(runs: Sequence[_Candidate], meter: _Meter) -> None:
    for run in runs:
        if not run.problem:
            meter(f"warming up {run.name}")
            with run.problem_noted(run.worker):
                run.warmup_ms = run.worker.ask({"do": "warm"})["runs_ms"]


def _interleave(
    runs: Sequence[_Candidate], iterations: int, max_seconds: float, order: random.Random, rounds: Iterator[int], meter: _Meter
) -> None:
    for run in runs:
        run.iterations = iterations
    while turns := [run for run in runs if not run.finished(max_seconds)]:
        order.shuffle(turns)
        number = next(rounds)
        for run in turns:
            meter(f"measuring {run.name}", sum(len(each.samples_ms) for each in runs))
            with run.problem_noted(run.worker):
                run.take(run.worker, block_size(run.typical_ms, iterations - len(run.samples_ms)), number)


def _tell_apart(
    runs: Mapping[int, _Candidate],
    undecided: Undecided,
    longer_seconds: float,
    order: random.Random,
    rounds: Iterator[int],
    meter: _Meter,
) -> None:
    ends = time.monotonic() + longer_seconds
    done = sum(run.iterations for run in runs.values())
    while time.monotonic() < ends:
        again = undecided({at: run.sampled for at, run in runs.items() if not run.problem and run.samples_ms})
        turns = [runs[at] for at in sorted(again) if not runs[at].problem]
        if not turns:
            return
        for _ in range(_ROUNDS_MORE):
            order.shuffle(turns)
            number = next(rounds)
            for run in turns:
                meter(f"telling apart {run.name}", done)
                with run.problem_noted(run.worker):
                    run.take(run.worker, block_size(run.typical_ms, MAX_BLOCK), number)
            turns = [run for run in turns if not run.problem]


def _finish(runs: Sequence[_Candidate], meter: _Meter, iterations: int) -> None:
    for run in runs:
        if not run.problem:
            with run.problem_noted(run.worker):
                run.starts[0] |= run.worker.ask({"do": "finish"})
    meter("measured", iterations * len(runs))
