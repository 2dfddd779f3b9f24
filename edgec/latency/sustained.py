"""Longer runs: frames back to back or as a camera delivers them, in one worker process a stream, while the sensors are read.

All streams begin at the same time of the clock that processes share. Their cameras are shifted by equal parts of a period, as
cameras that are not synchronised would be. The parent sleeps meanwhile and reads the sensors once a second.
"""

from __future__ import annotations

import selectors
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.errors import RequestError
from edgec.host.sensors import Sensors, total_mw
from edgec.latency.drift import drift
from edgec.latency.measure import Progress, groups, memory_budget
from edgec.latency.process import ANSWER_SECONDS, Worker, save_frames
from edgec.latency.recording import busy_ms
from edgec.latency.workload import Workload
from edgec.lowering.base import LoweredModel
from edgec.onboard.statistics import LEAD_IN_MS
from edgec.onboard.worker import WorkerProblem
from edgec.records.evidence import Evidence
from edgec.records.report import AfterIdle, Reading, Run
from edgec.records.runs import DECIMALS, figures

READING_SECONDS = 1.0
IDLE_SAMPLES = 5
MOST_ROWS = 250_000
"""The most frames whose single times a report holds: with more it would be too large to be read again."""


@dataclass(frozen=True)
class _Streams:
    """What the workers recorded, int64 [3, frames] and an answer for each, and what this process observed meanwhile."""

    columns: Sequence[NDArray[np.int64]]
    answers: Sequence[dict[str, Any]]
    begin_ns: int
    readings: tuple[Reading, ...]
    other_cores: float
    peak_rss_bytes: int


def sustain(
    model: LoweredModel,
    frames: NDArray[np.uint8],
    workload: Workload,
    *,
    threads: int,
    evidence: Evidence,
    progress: Progress | None = None,
) -> tuple[Run, tuple[str, ...]]:
    """The run, and sentences about what makes its figures doubtful. `frames` is uint8 [M, N, H, W, 3]: a batch arrives at once.
    `threads` are those of each stream. Raises `RequestError` if the streams do not fit into memory, `WorkerProblem` if one of
    them fails."""
    _require_memory(model, workload.streams)
    with tempfile.TemporaryDirectory(prefix="edgec-latency-") as folder, ExitStack() as stack:
        scratch = Path(folder)
        workers, typical = _ready(model, frames, workload.streams, threads, scratch, stack, progress)
        sensors = Sensors([worker.pid for worker in workers])
        streams = _record(workers, workload, typical, scratch, sensors, progress)
    run = _as_run(streams, workload, threads, frames.shape[1], evidence)
    return run, (*sensors.caveats, *_doubts(run, workload))


def after_idle(
    model: LoweredModel,
    frames: NDArray[np.uint8],
    seconds: float,
    *,
    threads: int,
    evidence: Evidence,
    samples: int = IDLE_SAMPLES,
    progress: Progress | None = None,
) -> AfterIdle:
    """The times of inferences, each after `seconds` of sleep. Raises `WorkerProblem` if the worker fails."""
    with tempfile.TemporaryDirectory(prefix="edgec-latency-") as folder, ExitStack() as stack:
        (worker,), _ = _ready(model, frames, 1, threads, Path(folder), stack, progress)
        times: list[float] = []
        for number in range(samples):
            if progress is not None:
                progress(f"idle for {seconds:g} s", number, samples)
            times += worker.ask({"do": "idle", "seconds": seconds, "samples": 1}, seconds + ANSWER_SECONDS)["samples_ms"]
    return AfterIdle(idle_s=seconds, samples_ms=tuple(round(sample, DECIMALS) for sample in times), evidence=evidence)


def attend(
    workers: Sequence[Worker], seconds: float, sensors: Sensors, begin_ns: int, progress: Progress | None
) -> tuple[list[dict[str, Any]], list[Reading]]:
    """The workers' answers to the command that they were sent, in their order, and readings of the sensors once a second from
    `begin_ns` on. Raises `WorkerProblem` as soon as one of them fails."""
    answers: dict[int, dict[str, Any]] = {}
    readings: list[Reading] = []
    deadline = time.monotonic() + seconds + ANSWER_SECONDS
    due = begin_ns
    with selectors.DefaultSelector() as selector:
        for number, worker in enumerate(workers):
            selector.register(worker, selectors.EVENT_READ, number)
        while selector.get_map():
            for key, _ in selector.select(max(0.0, (due - time.monotonic_ns()) / 1e9)):
                selector.unregister(key.fileobj)
                answers[key.data] = workers[key.data].answer()
            now = time.monotonic_ns()
            if now >= due:
                if due == begin_ns:
                    sensors.begin()
                elif selector.get_map():
                    readings.append(sensors.read((now - begin_ns) / 1e6))
                due += round(READING_SECONDS * 1e9)
                if progress is not None:
                    progress("running, seconds", min(round((now - begin_ns) / 1e9), round(seconds)), max(1, round(seconds)))
            if time.monotonic() > deadline:
                raise WorkerProblem(f"no answer within {seconds + ANSWER_SECONDS:.0f} s")
    if not readings:
        readings.append(sensors.read((time.monotonic_ns() - begin_ns) / 1e6))
    return [answers[number] for number in range(len(workers))], readings


def _require_memory(model: LoweredModel, streams: int) -> None:
    if streams > 1 and len(groups([model.size_bytes] * streams, memory_budget())) > 1:
        raise RequestError(
            f"{streams} streams of this model do not fit into the memory that is free here.",
            evidence=f"{memory_budget() / 1e9:.1f} GB may be taken; each stream loads {model.size_bytes / 1e6:.0f} MB of files",
            remedy="give fewer --streams",
        )


def _ready(
    model: LoweredModel,
    frames: NDArray[np.uint8],
    streams: int,
    threads: int,
    scratch: Path,
    stack: ExitStack,
    progress: Progress | None,
) -> tuple[list[Worker], float]:
    """Workers that are loaded and warm, and the milliseconds that a run of the slowest takes."""
    saved = save_frames(scratch, frames)
    workers, typical = [], 0.0
    for number in range(streams):
        if progress is not None:
            progress(f"loading stream {number + 1}" if streams > 1 else "loading", number, streams)
        worker = stack.enter_context(Worker(model, f"stream{number}", scratch))
        worker.load(saved, threads)
        typical = max(typical, statistics.median(worker.ask({"do": "warm"})["runs_ms"]))
        workers.append(worker)
    return workers, typical


def _record(
    workers: Sequence[Worker], workload: Workload, typical_ms: float, scratch: Path, sensors: Sensors, progress: Progress | None
) -> _Streams:
    # Time for one unrecorded run of all at once, at least: on shared cores it takes longer than alone.
    begin_ns = time.monotonic_ns() + round((LEAD_IN_MS + 2 * typical_ms * len(workers)) * 1e6)
    files = [scratch / f"columns{number}.npy" for number in range(len(workers))]
    for number, (worker, file) in enumerate(zip(workers, files, strict=True)):
        phase = 0 if workload.fps is None else round(number * 1e9 / workload.fps / len(workers))
        worker.send(
            {
                "do": "stream",
                "begin_ns": begin_ns + phase,
                "seconds": workload.seconds,
                "fps": workload.fps,
                "latest": workload.queue == "latest",
                "columns": str(file),
            }
        )
    busy, began = busy_ms(), time.perf_counter()
    answers, readings = attend(workers, workload.seconds, sensors, begin_ns, progress)
    busy, elapsed = busy_ms() - busy, 1000 * (time.perf_counter() - began)
    others = busy - sum(answer["all_cpu_ms"] for answer in answers)
    return _Streams(
        columns=[np.load(file) for file in files],
        answers=answers,
        begin_ns=begin_ns,
        readings=tuple(readings),
        other_cores=round(max(0.0, others / elapsed), 3),
        peak_rss_bytes=sum(worker.ask({"do": "finish"})["peak_rss_bytes"] for worker in workers),
    )


def _as_run(streams: _Streams, workload: Workload, threads: int, batch: int, evidence: Evidence) -> Run:
    together = np.concatenate(streams.columns, axis=1)
    stream = np.repeat(np.arange(len(streams.columns)), [each.shape[1] for each in streams.columns])
    order = np.argsort(together[2], kind="stable")
    arrived, started, done = np.round((together[:, order] - streams.begin_ns) / 1e6, DECIMALS)
    stream = stream[order]
    computed = figures(arrived, started, done, stream, workload.deadline_ms)  # type: ignore[arg-type]
    dropped = sum(answer["dropped"] for answer in streams.answers)
    count = len(done)
    cpu_ms = sum(answer["cpu_ms"] - answer["spun_ms"] for answer in streams.answers)
    power = [total for reading in streams.readings if (total := total_mw(reading.power_mw)) is not None]
    tabulated = count <= MOST_ROWS
    return Run(
        mode="back to back" if workload.fps is None else "camera",
        fps=workload.fps,
        streams=workload.streams,
        threads=threads,
        queue=workload.queue,
        seconds=computed.seconds,
        arrived=count + dropped,
        dropped=dropped,
        deadline_ms=workload.deadline_ms,
        missed=None if computed.late is None else computed.late + dropped,
        latency=computed.latency,
        wait=computed.wait,
        service=computed.service,
        interval=computed.interval,
        jitter_ms=computed.jitter_ms,
        throughput_fps=count * batch / computed.seconds,
        drift=drift(np.round(done - started, DECIMALS)),
        cpu_ms_per_frame=max(0.0, cpu_ms) / (count * batch),
        # mW times s are mJ.
        energy_mj_per_frame=statistics.fmean(power) * computed.seconds / (count * batch) if power else None,
        peak_rss_bytes=streams.peak_rss_bytes,
        other_cores=streams.other_cores,
        arrived_ms=tuple(arrived.tolist()) if tabulated else (),
        started_ms=tuple(started.tolist()) if tabulated else (),
        done_ms=tuple(done.tolist()) if tabulated else (),
        stream=tuple(stream.tolist()) if tabulated else (),
        readings=streams.readings,
        evidence=evidence,
    )


def _doubts(run: Run, workload: Workload) -> tuple[str, ...]:
    doubts = []
    if run.queue == "all" and run.dropped:
        doubts.append(
            f"{run.dropped} frames still waited a second after the last had arrived and count as dropped: at this rate the queue "
            "only grows, and latency grows with the length of the run."
        )
    if run.latency.count > MOST_ROWS:
        doubts.append(f"The run did {run.latency.count} frames: the figures are of all of them, their single times are not kept.")
    if run.latency.count < 100:
        doubts.append(f"The run did {run.latency.count} frames: p99 is their maximum. A longer --duration tells more.")
    return tuple(doubts)
