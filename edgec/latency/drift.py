"""Whether a run's end is slower than its beginning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgec.latency import bootstrap
from edgec.onboard.statistics import nearest_rank
from edgec.records.report import Drift

SHARE = 10
LEAST = SHARE * bootstrap.samples_needed(0.5)
"""Frames: with fewer, no interval of a tenth's median can be given."""


def drift(service_ms: Sequence[float]) -> Drift | None:
    """The median of the last tenth over that of the first, of milliseconds by frame in the order of their ends; None for fewer
    than `LEAST` frames.

    The interval comes from resampling these two tenths in blocks, as long as frames depend on one another. It is about this run,
    and does not say how the next one will differ.
    """
    if len(service_ms) < LEAST or min(service_ms) <= 0:
        return None
    tenth = len(service_ms) // SHARE
    values = np.asarray(service_ms, dtype=np.float64)
    first, last = (bootstrap.SampledRun(part) for part in (values[:tenth], values[len(values) - tenth :]))
    before, after = bootstrap.quantile(first.samples, 0.5), bootstrap.quantile(last.samples, 0.5)
    random = np.random.default_rng(0)
    rank = nearest_rank(tenth, 0.5)
    drawn = [random.choice(np.partition(side.draws, rank, axis=1)[:, rank], bootstrap.DRAWS) for side in (first, last)]
    tail = 100 * (1 - bootstrap.CONFIDENCE) / 2
    low, high = np.percentile(drawn[1] / drawn[0], (tail, 100 - tail))
    ratio = after / before
    return Drift(
        first_p50_ms=before,
        last_p50_ms=after,
        ratio=ratio,
        ratio_low=min(ratio, float(low)),
        ratio_high=max(ratio, float(high)),
    )
