"""The candidates' latency on this machine, measured in turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgec.backends.base import Circumstances, OnProgress, as_models
from edgec.backends.candidate import Assessment, Candidate
from edgec.backends.cpu.choosing import finalists, undecided
from edgec.batches import stacks
from edgec.host.facts import evidence_here
from edgec.latency.measure import measure

if TYPE_CHECKING:
    from edgec.fidelity.reference import Reference

MAX_SECONDS = 12.0
"""How long measuring one candidate's latency may take: slow models get fewer iterations, and the report says how many."""
LONGER_SECONDS = 40.0
"""How long candidates between which the choice is open are measured beyond that, all together. What is not told apart by then is
a tie."""


def measured(
    candidates: Sequence[Candidate],
    reference: Reference,
    circumstances: Circumstances,
    on_progress: OnProgress,
    lacks: Sequence[str],
) -> tuple[Assessment, ...]:
    """Latency, cold start and memory of each candidate, in their order. `lacks` is what this host would need to be the target:
    the evidence follows from it, as `edgec bench` and `edgec run` have it."""
    figures = [candidate.figures() for candidate in candidates]
    measurements = measure(
        as_models(candidates),
        stacks(reference.frames, circumstances.batch),
        threads=circumstances.threads,
        iterations=circumstances.iterations,
        max_seconds=MAX_SECONDS,
        seed=circumstances.seed,
        names=[candidate.name for candidate in candidates],
        undecided=lambda runs: undecided(figures, circumstances.budget, runs),
        longer_seconds=LONGER_SECONDS,
        goes_on=lambda medians: finalists(figures, circumstances.budget, medians),
        progress=lambda doing, done, _total: on_progress(doing, done),
        evidence=evidence_here(circumstances.host, lacks),
    )
    return tuple(
        Assessment(
            latency=measurement.latency,
            cold_start=measurement.cold_start,
            cpu_ms_per_frame=measurement.cpu_ms_per_frame,
            other_cores=measurement.other_cores,
            problem=measurement.problem,
        )
        for measurement in measurements
    )
