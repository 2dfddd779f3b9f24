"""How fast the machine was while a candidate was measured, by the yardstick that took turns with it (`latency.yardstick`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgec.latency.bootstrap import Floats, SampledRun
from edgec.latency.pairing import sampled
from edgec.records.report import YARDSTICK, CandidateFigures, Latency, Report


def yardstick(report: Report) -> CandidateFigures | None:
    """The report's, if it has one with samples."""
    return next(
        (
            candidate
            for candidate in report.candidates
            if candidate.name == YARDSTICK and candidate.latency and candidate.latency.samples_ms
        ),
        None,
    )


def kind(report: Report) -> str | None:
    """What identifies the yardstick: only times by the same one are comparable. None where there is none."""
    candidate = yardstick(report)
    if candidate is None or candidate.latency is None:
        return None
    return f"{', '.join(candidate.latency.flags)}; numpy {report.host.versions.get('numpy', '')}"


def as_run(latency: Latency) -> SampledRun:
    """The samples of a latency that has some."""
    return sampled(latency.samples_ms, latency.blocks)


def paced(run: SampledRun, report: Report) -> SampledRun | None:
    """The run's samples as multiples of the yardstick's time in the same rounds, by process; None where a process has no such
    time."""
    candidate = yardstick(report)
    if candidate is None or candidate.latency is None or len(run.processes) == 0:
        return None
    reference = as_run(candidate.latency)
    if len(reference.rounds) == 0:
        return None
    samples: Floats = run.samples.copy()
    for process in np.unique(run.processes):
        of_process = run.processes == process
        readings = reference.samples[np.isin(reference.rounds, run.rounds[of_process])]
        if len(readings) == 0:
            return None
        samples[of_process] /= np.median(readings)
    return replace(run, samples=samples, paced=True)
