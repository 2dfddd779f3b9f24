"""What is compared: one candidate of a report, or of several reports of one thing, with its figures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgec.latency.bootstrap import SampledRun, level_ms
from edgec.records.fidelity import StageFidelity
from edgec.records.report import CandidateFigures, ColdStart, Latency, Report
from edgec.report.compare.pace import as_run, kind, paced, yardstick


@dataclass(frozen=True)
class Side:
    """`name` is the path as it was given. Each report is a run of its own; conditions and artefact are the same in all."""

    name: str
    reports: tuple[Report, ...]
    candidates: tuple[CandidateFigures, ...]
    """The one that is compared, in each report."""

    @property
    def report(self) -> Report:
        """The first one, for what is the same in all."""
        return self.reports[0]

    @property
    def candidate(self) -> CandidateFigures:
        """The first report's, for what is the same in all."""
        return self.candidates[0]

    @property
    def latency(self) -> Latency | None:
        """The first run's, for what is the same in all. `quantile_ms` has the figures."""
        return self.candidate.latency

    @property
    def fidelity(self) -> StageFidelity | None:
        """The same in all reports; None where it was not measured."""
        return self.candidate.fidelity

    @cached_property
    def runs(self) -> tuple[SampledRun, ...]:
        """Empty where a run has no samples."""
        latencies = [candidate.latency for candidate in self.candidates if candidate.latency and candidate.latency.samples_ms]
        return tuple(map(as_run, latencies)) if len(latencies) == len(self.candidates) else ()

    @cached_property
    def paced(self) -> tuple[SampledRun, ...]:
        """The runs with the machine's speed taken out, as multiples of the yardstick's time; empty where it is not known."""
        by_run = [paced(run, report) for run, report in zip(self.runs, self.reports, strict=False)]
        paced_runs = [run for run in by_run if run is not None]
        return tuple(paced_runs) if self.yardstick and len(paced_runs) == len(self.candidates) else ()

    @property
    def yardstick(self) -> str | None:
        """The kind that all of its reports have; None where they differ, or one has none."""
        kinds = set(map(kind, self.reports))
        return kinds.pop() if len(kinds) == 1 else None

    @property
    def pace_ms(self) -> float | None:
        """The yardstick's median over all runs; None without a yardstick."""
        latencies = [each.latency for each in map(yardstick, self.reports) if each and each.latency]
        return level_ms([as_run(latency) for latency in latencies], 0.5) if self.yardstick else None

    @property
    def samples(self) -> int:
        """How many samples all runs together have."""
        return sum(len(run.samples) for run in self.runs)

    def quantile_ms(self, figure: str, share: float) -> float | None:
        """The quantile over all runs by `bootstrap.level_ms`; where there are no samples, the report's own figure."""
        if self.runs:
            return level_ms(self.runs, share)
        return None if self.latency is None else float(getattr(self.latency, f"{figure}_ms"))

    @property
    def max_ms(self) -> float | None:
        """Of all runs."""
        return max((candidate.latency.max_ms for candidate in self.candidates if candidate.latency), default=None)

    @property
    def cold_start(self) -> ColdStart | None:
        """The one that took the most memory."""
        starts = [candidate.cold_start for candidate in self.candidates if candidate.cold_start is not None]
        return max(starts, key=lambda each: each.peak_rss_bytes, default=None)

    def took_turns_with(self, other: Side) -> bool:
        """Whether both were measured in one run, in the same rounds."""
        alone = len(self.reports) == len(other.reports) == 1 and self.report == other.report and bool(self.runs and other.runs)
        return alone and len(np.intersect1d(self.runs[0].rounds, other.runs[0].rounds)) > 1

    def paces_with(self, other: Side) -> bool:
        """Whether the machine's speed can be taken out of both by the same yardstick."""
        return bool(self.paced and other.paced) and self.yardstick == other.yardstick
