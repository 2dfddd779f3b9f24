"""One artefact, measured in several fresh processes one after another, together with a yardstick that measures the machine's
speed.

Latencies differ from one run to the next because the machine's speed changes, and because each process has another layout in
memory. So the samples come from several processes, each begun at another time, which differ as much as the next run may differ.
In each, the yardstick takes turns with the model: before or after a block, at random. One process at a time is in memory, and
each is a real cold start.
"""

from __future__ import annotations

import math
import random
import statistics
import tempfile
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgec.latency.measure import Progress
from edgec.latency.process import Helper, Worker, save_frames
from edgec.latency.recording import Measurement, Recording
from edgec.latency.yardstick import ENVIRONMENT, WORK
from edgec.lowering.base import LoweredModel
from edgec.onboard.statistics import block_size, enough
from edgec.records.evidence import Evidence
from edgec.records.report import YARDSTICK, Block, CandidateFigures, Latency

PROCESSES, FEWEST = 5, 2
BEGINNING_MS = 10_000.0
"""The time that beginning and warming up all processes may take. If it would take longer there are fewer processes, but two."""
LEAST_RUNS = 5
"""The fewest runs of a process: a median of fewer says little."""
BLOCKS, MOST_BLOCK, LEAD_IN_MS = 4, 20, 40.0
"""A process has four blocks if it has enough runs: each comes with a reading of the yardstick, and one reading alone says little.
No other candidate's threads spin meanwhile, so the lead-in can be shorter than between candidates."""

NOTE = (
    "The runs are from several processes, each begun afresh when the one before had ended, in blocks of at most "
    f"{MOST_BLOCK} runs, each begun with {LEAD_IN_MS:g} ms of unrecorded runs. Cold start is the median of theirs, memory the "
    "most of them. Percentiles are nearest-rank over all recorded runs; nothing is clipped."
)
"""For reports: how the figures were taken."""
YARDSTICK_NOTE = (
    f"The reference work ({YARDSTICK}) is no candidate: it is always the same, {WORK}, and took turns with the artefact. It "
    "tells how fast the machine was, so that `edgec compare` can tell a slower model from a slower machine."
)


def measure_series(
    model: LoweredModel,
    frames: NDArray[np.uint8],
    *,
    threads: int,
    iterations: int,
    max_seconds: float,
    seed: int = 0,
    progress: Progress | None = None,
    evidence: Evidence,
) -> tuple[Measurement, CandidateFigures | None]:
    """The figures on `frames`, uint8 [M, N, H, W, 3], and those of the yardstick as a candidate of its own; None if the yardstick
    failed, which does not affect the others.

    Blocks of the two that ran next to each other have the same round. `iterations` runs are recorded, or fewer if they take over
    `max_seconds` (`statistics.enough`). A model that fails has a `problem`.
    """
    with tempfile.TemporaryDirectory(prefix="edgec-latency-") as folder:
        saved = save_frames(Path(folder), frames)
        with _Yardstick(Path(folder)) as yardstick:
            series = _Series(model, saved, yardstick, threads, iterations, max_seconds, seed, progress)
            series.take()
    return series.recording.result(frames.shape[1], evidence), yardstick.candidate(evidence)


class _Yardstick(Helper):
    """The yardstick's process, with its samples. If it fails, it has no figures."""

    def __init__(self, scratch: Path) -> None:
        super().__init__("edgec.latency.yardstick", YARDSTICK, scratch, ENVIRONMENT)
        self._recording = Recording(YARDSTICK)

    def take(self, number: int) -> None:
        if self._recording.problem:
            return
        with self._recording.problem_noted(self):
            samples = [round(sample, 4) for sample in self.ask({"do": "run"})["samples_ms"]]
            self._recording.samples_ms += samples
            self._recording.blocks.append(Block(round=number, runs=len(samples)))

    def candidate(self, evidence: Evidence) -> CandidateFigures | None:
        recording = self._recording
        if recording.problem or not recording.samples_ms:
            return None
        latency = Latency.of(
            recording.samples_ms, warmup=0, threads=1, blocks=tuple(recording.blocks), evidence=evidence, flags=(WORK,)
        )
        return CandidateFigures(name=YARDSTICK, runtime="numpy", precision="fp32", latency=latency)


class _Series:
    """Processes one after another; `recording` covers all of them."""

    def __init__(
        self,
        model: LoweredModel,
        frames: Path,
        yardstick: _Yardstick,
        threads: int,
        iterations: int,
        max_seconds: float,
        seed: int,
        progress: Progress | None,
    ) -> None:
        self._model, self._frames, self._yardstick, self._threads = model, frames, yardstick, threads
        self._iterations, self._max_seconds, self._progress = iterations, max_seconds, progress
        self._order, self._rounds = random.Random(seed), count()  # noqa: S311 - an order, not a secret
        self._processes = processes(iterations, 0.0)
        self.recording = Recording(model.runtime)

    def take(self) -> None:
        for number in count():
            if number == self._processes or self.recording.problem:
                break
            self._report(f"process {number + 1} of {self._processes}: beginning")
            with Worker(self._model, str(number), self._frames.parent) as worker, self.recording.problem_noted(worker):
                self._begin(worker)
                self._measure(worker, number)
                self.recording.starts[-1] |= worker.ask({"do": "finish"})
        self._report("measured")

    def _begin(self, worker: Worker) -> None:
        start = worker.load(self._frames, self._threads)
        warmed = worker.ask({"do": "warm"})["runs_ms"]
        if not self.recording.starts:
            self._processes = processes(self._iterations, (start["process_ms"] or 0.0) + sum(warmed))
        self.recording.starts.append(start)
        self.recording.warmup_ms += warmed

    def _measure(self, worker: Worker, process: int) -> None:
        for runs in self._blocks(process):
            self._report(f"process {process + 1} of {self._processes}: measuring")
            number, turns = next(self._rounds), [True, False]
            self._order.shuffle(turns)
            for models in turns:
                if models:
                    self.recording.take(worker, runs, number, process, lead_in_ms=LEAD_IN_MS)
                else:
                    self._yardstick.take(number)

    def _blocks(self, process: int) -> Iterator[int]:
        """The number of runs in each block of the process, until the process has its share of runs or of the time."""
        share = (process + 1) / self._processes
        iterations, taken = math.ceil(self._iterations * share), self.recording.samples_ms
        most = min(MOST_BLOCK, math.ceil((iterations - len(taken)) / BLOCKS))
        until_ms = 1000 * self._max_seconds * share
        while not enough(taken, iterations, self._max_seconds * share, share):
            typical = statistics.median(taken or self.recording.warmup_ms)
            left = max(1.0, min((until_ms - sum(taken)) / typical, iterations))
            yield min(block_size(typical, iterations - len(taken), MOST_BLOCK), most, int(left))

    def _report(self, doing: str) -> None:
        if self._progress is not None:
            self._progress(doing, len(self.recording.samples_ms), self._iterations)


def by_process(measurement: Measurement) -> list[float]:
    """The median of each process's samples, in milliseconds."""
    samples_by_process: dict[int, list[float]] = {}
    if measurement.latency is not None:
        samples = iter(measurement.latency.samples_ms)
        for block in measurement.latency.blocks:
            samples_by_process.setdefault(block.process, []).extend(islice(samples, block.runs))
    return [statistics.median(taken) for taken in samples_by_process.values()]


def processes(iterations: int, beginning_ms: float) -> int:
    """How many processes share `iterations` runs. `beginning_ms` is the time that beginning and warming up one of them takes."""
    affordable = PROCESSES if beginning_ms <= 0 else int(BEGINNING_MS / beginning_ms)
    return max(1, min(PROCESSES, max(FEWEST, affordable), iterations // LEAST_RUNS))
