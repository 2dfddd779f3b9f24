"""How fast the machine was while a candidate was measured, by the yardstick that took turns with it (`latency.yardstick`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgec.latency.bootstrap import Floats, SampledRun
from edgec.records.report import YARDSTICK, CandidateFigures, Latency, Report


def yardstick(report: Report) -> CandidateFigures | None:
    """The report's, if it has one with samples."""
    return next((each for each in report.candidates if each.name == YARDSTICK and each.latency and each.latency.samples_ms), None)


def kind(report: Report) -> str | None:
    """What it is: only times by the same one say anything of each other. None where there is none."""
    found = yardstick(report)
    if found is None or found.latency is None:
        return None
    return f"{', '.join(found.latency.flags)}; numpy {report.host.versions.get('numpy', '')}"


def as_run(latency: Latency) -> SampledRun:
    """The samples of a latency that has some."""

    def by_sample(values: list[int]) -> NDArray[np.int64]:
        return np.repeat(np.array(values, dtype=np.int64), np.array([block.runs for block in latency.blocks], dtype=np.int64))

    rounds, processes = [block.round for block in latency.blocks], [block.process for block in latency.blocks]
    return SampledRun(np.array(latency.samples_ms), by_sample(rounds), by_sample(processes))


def paced(run: SampledRun, report: Report) -> SampledRun | None:
    """The run's samples as multiples of what the yardstick took beside each process; None where a process had none beside it."""
    found = yardstick(report)
    if found is None or found.latency is None or len(run.processes) == 0:
        return None
    beside = as_run(found.latency)
    if len(beside.rounds) == 0:
        return None
    samples: Floats = run.samples.copy()
    for process in np.unique(run.processes):
        own = run.processes == process
        readings = beside.samples[np.isin(beside.rounds, run.rounds[own])]
        if len(readings) == 0:
            return None
        samples[own] /= np.median(readings)
    return replace(run, samples=samples, paced=True)
