"""Runs that last: frames back to back or as a camera has them, in one worker process a stream, while the sensors are read.

All streams begin at one moment of the clock that processes share; their cameras are out of phase by equal parts of a period,
as cameras are that nobody synchronised. The parent sleeps meanwhile and reads the sensors once a second.
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
from edgec.host.sensors import Sensors, whole_mw
from edgec.latency.asked import Asked
from edgec.latency.drift import drift
from edgec.latency.measure import FRAME_BYTES, Progress, groups, memory_budget
from edgec.latency.process import ANSWER_SECONDS, Worker
from edgec.latency.recording import busy_ms
from edgec.lowering.base import LoweredModel
from edgec.onboard.statistics import LEAD_IN_MS
from edgec.onboard.worker import WorkerProblem
from edgec.records.evidence import Evidence
from edgec.records.report import AfterIdle, Reading, Run
from edgec.records.runs import DECIMALS, figures

READING_SECONDS = 1.0
IDLE_SAMPLES = 5
MOST_ROWS = 250_000
"""Frames whose times are kept one by one: more would make a report that is too large to be read again."""


@dataclass(frozen=True)
class _Streams:
    """What the workers recorded: int64 [3, frames] and an answer for each, and what the parent saw meanwhile."""

    columns: Sequence[NDArray[np.int64]]
    answers: Sequence[dict[str, Any]]
    begin_ns: int
    readings: tuple[Reading, ...]
    other_cores: float
    peak_rss_bytes: int


def sustain(
    model: LoweredModel,
    frames: NDArray[np.uint8],
    wanted: Asked,
    *,
    threads: int,
    evidence: Evidence,
    progress: Progress | None = None,
) -> tuple[Run, tuple[str, ...]]:
    """The run, and why its figures are doubtful. `frames` is uint8 [M, N, H, W, 3]: a batch arrives at once. `threads` are of
    each stream. Raises `RequestError` if the streams do not fit into memory, `WorkerProblem` if one of them fails."""
    _require_memory(model, wanted.streams)
    with tempfile.TemporaryDirectory(prefix="edgec-latency-") as folder, ExitStack() as stack:
        scratch = Path(folder)
        workers, typical = _ready(model, frames, wanted.streams, threads, scratch, stack, progress)
        sensors = Sensors([worker.pid for worker in workers])
        streams = _record(workers, wanted, typical, scratch, sensors, progress)
    run = _as_run(streams, wanted, threads, frames.shape[1], evidence)
    return run, (*sensors.caveats, *_doubts(run, wanted))


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
    """Inferences each of which follows on `seconds` of sleep. Raises `WorkerProblem` if the worker fails."""
    with tempfile.TemporaryDirectory(prefix="edgec-latency-") as folder, ExitStack() as stack:
        (worker,), _ = _ready(model, frames, 1, threads, Path(folder), stack, progress)
        found: list[float] = []
        for number in range(samples):
            if progress is not None:
                progress(f"idle for {seconds:g} s", number, samples)
            found += worker.ask({"do": "idle", "seconds": seconds, "samples": 1}, seconds + ANSWER_SECONDS)["samples_ms"]
    return AfterIdle(idle_s=seconds, samples_ms=tuple(round(sample, DECIMALS) for sample in found), evidence=evidence)


def attend(
    workers: Sequence[Worker], seconds: float, sensors: Sensors, begin_ns: int, progress: Progress | None
) -> tuple[list[dict[str, Any]], list[Reading]]:
    """The workers' answers to what they were sent, in their order, and what the sensors said once a second from `begin_ns` on.
    Raises `WorkerProblem` as soon as one of them fails."""
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
    """Workers that are loaded and warm, and how many milliseconds a run of the slowest takes."""
    np.save(scratch / "frames.npy", frames[: max(1, FRAME_BYTES // frames[0].nbytes)])
    workers, typical = [], 0.0
    for number in range(streams):
        if progress is not None:
            progress(f"loading stream {number + 1}" if streams > 1 else "loading", number, streams)
        worker = stack.enter_context(Worker(model, f"stream{number}", scratch))
        worker.load(scratch / "frames.npy", threads)
        typical = max(typical, statistics.median(worker.ask({"do": "warm"})["runs_ms"]))
        workers.append(worker)
    return workers, typical


def _record(
    workers: Sequence[Worker], wanted: Asked, typical_ms: float, scratch: Path, sensors: Sensors, progress: Progress | None
) -> _Streams:
    # Time for one unrecorded run of all at once, at least: on shared cores it takes longer than alone.
    begin_ns = time.monotonic_ns() + round((LEAD_IN_MS + 2 * typical_ms * len(workers)) * 1e6)
    files = [scratch / f"columns{number}.npy" for number in range(len(workers))]
    for number, (worker, file) in enumerate(zip(workers, files, strict=True)):
        phase = 0 if wanted.fps is None else round(number * 1e9 / wanted.fps / len(workers))
        worker.send(
            {
                "do": "stream",
                "begin_ns": begin_ns + phase,
                "seconds": wanted.seconds,
                "fps": wanted.fps,
                "latest": wanted.queue == "latest",
                "columns": str(file),
            }
        )
    busy, began = busy_ms(), time.perf_counter()
    answers, readings = attend(workers, wanted.seconds, sensors, begin_ns, progress)
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


def _as_run(found: _Streams, wanted: Asked, threads: int, batch: int, evidence: Evidence) -> Run:
    together = np.concatenate(found.columns, axis=1)
    stream = np.repeat(np.arange(len(found.columns)), [each.shape[1] for each in found.columns])
    order = np.argsort(together[2], kind="stable")
    arrived, started, done = np.round((together[:, order] - found.begin_ns) / 1e6, DECIMALS)
    stream = stream[order]
    made = figures(arrived, started, done, stream, wanted.deadline_ms)  # type: ignore[arg-type]
    dropped = sum(answer["dropped"] for answer in found.answers)
    count = len(done)
    cpu_ms = sum(answer["cpu_ms"] - answer["spun_ms"] for answer in found.answers)
    power = [whole for reading in found.readings if (whole := whole_mw(reading.power_mw)) is not None]
    kept = count <= MOST_ROWS
    return Run(
        mode="back to back" if wanted.fps is None else "camera",
        fps=wanted.fps,
        streams=wanted.streams,
        threads=threads,
        queue=wanted.queue,
        seconds=made.seconds,
        arrived=count + dropped,
        dropped=dropped,
        deadline_ms=wanted.deadline_ms,
        missed=None if made.late is None else made.late + dropped,
        latency=made.latency,
        wait=made.wait,
        service=made.service,
        interval=made.interval,
        jitter_ms=made.jitter_ms,
        throughput_fps=count * batch / made.seconds,
        drift=drift(np.round(done - started, DECIMALS)),
        cpu_ms_per_frame=max(0.0, cpu_ms) / (count * batch),
        # mW times s are mJ.
        energy_mj_per_frame=statistics.fmean(power) * made.seconds / (count * batch) if power else None,
        peak_rss_bytes=found.peak_rss_bytes,
        other_cores=found.other_cores,
        arrived_ms=tuple(arrived.tolist()) if kept else (),
        started_ms=tuple(started.tolist()) if kept else (),
        done_ms=tuple(done.tolist()) if kept else (),
        stream=tuple(stream.tolist()) if kept else (),
        readings=found.readings,
        evidence=evidence,
    )


def _doubts(run: Run, wanted: Asked) -> tuple[str, ...]:
    found = []
    if run.queue == "all" and run.dropped:
        found.append(
            f"{run.dropped} frames still waited a second after the last had arrived and count as dropped: at this rate the queue "
            "only grows, and latency says how long the run was."
        )
    if run.latency.count > MOST_ROWS:
        found.append(f"The run did {run.latency.count} frames: the figures are of all of them, their single times are not kept.")
    if run.latency.count < 100:
        found.append(f"The run did {run.latency.count} frames: p99 is their maximum. A longer --duration tells more.")
    return tuple(found)
