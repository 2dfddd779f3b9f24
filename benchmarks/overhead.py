"""What `edgec bench` adds to what it measures: runs that are recorded against runs that nobody times, in one process, in turn."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.race import ratio
from edgec.artefact.reading import open_artefact
from edgec.batches import stacks
from edgec.building import build
from edgec.host import facts as host
from edgec.host.sensors import Sensors
from edgec.latency.arrivals import back_to_back
from edgec.latency.process import Worker
from edgec.latency.sustained import attend
from edgec.records.evidence import Evidence
from edgec.request import BuildRequest

GOAL = 1.01
_LEAD_IN_NS = 100_000_000


def run_overhead(artefact: Path | None, rounds: int, seconds: float, threads: int | None) -> None:
    """Prints the ratio of the time that a run takes recorded, sensors read and answers piped, to what it takes alone."""
    with tempfile.TemporaryDirectory(prefix="edgec-overhead-") as folder:
        scratch = Path(folder)
        if artefact is None:
            artefact = build(BuildRequest("demo", output=scratch / "demo.edgec", threads=threads)).directory
        opened = open_artefact(artefact)
        np.save(scratch / "frames.npy", stacks(opened.golden.frames, opened.manifest.input.shape[0]))
        with Worker(opened.lowered, "overhead", scratch) as worker:
            worker.load(scratch / "frames.npy", threads or host.available_cores())
            usual = statistics.median(worker.ask({"do": "warm"})["runs_ms"])
            recorded, plain = _turns(worker, scratch, rounds, seconds, usual)
    cost = ratio(tuple((each,) for each in recorded), tuple((each,) for each in plain))
    alone = _recording_ms()
    print(f"{rounds} pairs of {seconds:g} s, in random order; {Evidence.HOST.value}")
    print(f"a run, nothing timed   {statistics.median(plain):.4f} ms")
    print(f"a run, recorded        {statistics.median(recorded):.4f} ms")
    print(f"ratio                  {cost.value:.4f} ({cost.low:.4f} to {cost.high:.4f}, 95 %); goal: under {GOAL}")
    print(f"recording alone        {1000 * alone:.2f} us a run, {100 * alone / statistics.median(plain):.3f} % of one")


def _turns(worker: Worker, scratch: Path, rounds: int, seconds: float, usual_ms: float) -> tuple[list[float], list[float]]:
    """Milliseconds of a run by round, recorded and plain."""
    order = random.Random(0)
    recorded, plain = [], []
    iterations = max(1, round(1000 * seconds / usual_ms))

    def record() -> None:
        begin = time.monotonic_ns() + _LEAD_IN_NS + round(2e6 * usual_ms)
        columns = scratch / "columns.npy"
        worker.send(
            {"do": "stream", "begin_ns": begin, "seconds": seconds, "fps": None, "latest": False, "columns": str(columns)}
        )
        attend([worker], seconds, Sensors([worker.pid]), begin, None)
        _, started, done = np.load(columns)
        recorded.append(float(done[-1] - started[0]) / 1e6 / len(done))

    def leave_alone() -> None:
        worker.ask({"do": "run", "iterations": 1})  # the same lead-in
        plain.append(float(worker.ask({"do": "plain", "iterations": iterations})["elapsed_ms"]) / iterations)

    for _ in range(rounds):
        turns = [record, leave_alone]
        order.shuffle(turns)
        for turn in turns:
            turn()
    return recorded, plain


def _recording_ms() -> float:
    """Of clock reads and columns alone, a run: what is left when the model takes no time."""
    begin = time.monotonic_ns()
    record = back_to_back(lambda: None, begin, 0.5)
    return (record.done[-1] - begin) / 1e6 / len(record.done)
