"""The measurement of one candidate in progress: what its worker, or several workers one after another, answered so far."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil

from edgec.latency.process import Helper
from edgec.onboard.statistics import LEAD_IN_MS
from edgec.onboard.worker import WorkerProblem
from edgec.records.evidence import Evidence
from edgec.records.report import Block, ColdStart, Latency


@dataclass(frozen=True)
class Measurement:
    """Either the figures, or the `problem` that prevented them.

    `cpu_ms_per_frame` is CPU time of all threads, over the frames of the recorded runs; `import_ms` is the time that importing
    the runtime took; `other_cores` is how many cores' worth of other work the machine did meanwhile, a hypervisor's share
    included.
    """

    latency: Latency | None = None
    cold_start: ColdStart | None = None
    execution_precision: str = ""
    cpu_ms_per_frame: float | None = None
    import_ms: float | None = None
    other_cores: float | None = None
    problem: str = ""


@dataclass
class Recording:
    """What the workers of one candidate answered so far. `starts` has each worker's answer to `load`, with that to `finish`
    added."""

    name: str
    starts: list[dict[str, Any]] = field(default_factory=list)
    warmup_ms: list[float] = field(default_factory=list)
    samples_ms: list[float] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    cpu_ms: float = 0.0
    others_ms: float = 0.0
    elapsed_ms: float = 0.0
    problem: str = ""

    @property
    def typical_ms(self) -> float:
        """The median of the samples, or of the warm-up before there are any."""
        return statistics.median(self.samples_ms or self.warmup_ms)

    def take(self, worker: Helper, runs: int, number: int, process: int = 0, lead_in_ms: float = LEAD_IN_MS) -> None:
        """Record one block of the round `number`. Raises `WorkerProblem`."""
        busy, began = busy_ms(), time.perf_counter()
        answer = worker.ask({"do": "run", "iterations": runs, "lead_in_ms": lead_in_ms})
        self.others_ms += busy_ms() - busy - answer["block_cpu_ms"]
        self.elapsed_ms += (time.perf_counter() - began) * 1000
        self.samples_ms.extend(round(sample, 4) for sample in answer["samples_ms"])
        self.blocks.append(Block(round=number, runs=runs, process=process))
        self.cpu_ms += answer["cpu_ms"]

    @contextmanager
    def problem_noted(self, worker: Helper) -> Iterator[None]:
        """Notes a `WorkerProblem` instead of raising it, so that the other candidates go on."""
        try:
            yield
        except WorkerProblem as problem:
            self.problem = str(problem)
            worker.close()

    def result(self, batch: int, evidence: Evidence) -> Measurement:
        """The figures of all that was recorded, or the problem. `batch` is the number of frames in a run."""
        if self.problem:
            return Measurement(problem=self.problem)
        other_cores = round(max(0.0, self.others_ms / self.elapsed_ms), 3)

        def median(name: str) -> float:
            return float(statistics.median(start[name] for start in self.starts))

        processes = [start["process_ms"] for start in self.starts if start["process_ms"] is not None]
        return Measurement(
            latency=Latency.of(
                self.samples_ms,
                warmup=len(self.warmup_ms),
                threads=self.starts[0]["threads"],
                blocks=tuple(self.blocks),
                other_cores=other_cores,
                evidence=evidence,
            ),
            cold_start=ColdStart(
                load_ms=median("load_ms"),
                first_inference_ms=median("first_inference_ms"),
                import_ms=median("import_ms"),
                process_ms=statistics.median(processes) if processes else None,
                peak_rss_bytes=max(start["peak_rss_bytes"] for start in self.starts),
                evidence=evidence,
            ),
            execution_precision=self.starts[0]["execution_precision"],
            cpu_ms_per_frame=self.cpu_ms / (len(self.samples_ms) * batch),
            import_ms=median("import_ms"),
            other_cores=other_cores,
        )


def busy_ms() -> float:
    """CPU time in milliseconds that the whole machine has spent on anything since it started."""
    times = psutil.cpu_times()
    # Linux counts guests' time within user time as well.
    idle = ("idle", "iowait", "guest", "guest_nice")
    return 1000 * float(sum(times) - sum(getattr(times, name, 0.0) for name in idle))
