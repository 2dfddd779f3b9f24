"""Statistics of samples, and the rules for how many to take."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

MIN_WARMUP_RUNS = 5
MAX_WARMUP_RUNS = 50
MAX_WARMUP_MS = 10_000.0
STABLE_WITHIN = 0.05

MIN_ITERATIONS = 20
SLOW_RUN_MS = 2_000.0
MIN_SLOW_ITERATIONS = 5

MAX_BLOCK = 10
BLOCK_MS = 1_000.0
LEAD_IN_MS = 100.0
"""Unrecorded runs at the beginning of each block, at least one. ONNX Runtime's threads spin for some 40 ms after a run before
they sleep (seen on an AMD Zen 4; longer if a pause instruction takes longer), and meanwhile take cores from the next
candidate."""


@dataclass(frozen=True)
class Summary:
    """Milliseconds. Percentiles are nearest-rank: each is one of the samples, none is interpolated. So p99 of fewer than 100
    samples is their maximum, and p50 of an even number is the lower of the two in the middle."""

    min_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    mean_ms: float


def nearest_rank(count: int, share: float) -> int:
    """The index, in sorted order, of the `share` quantile of so many samples. Products such as 0.99 * 100 are rounded first,
    because they come out a little above the integer."""
    return max(0, math.ceil(round(share * count, 9)) - 1)


def summary(samples_ms: Sequence[float]) -> Summary:
    """The summary of all samples; nothing is clipped. `samples_ms` must not be empty."""
    ordered = sorted(samples_ms)
    p50, p90, p99 = (ordered[nearest_rank(len(ordered), share)] for share in (0.50, 0.90, 0.99))
    return Summary(
        min_ms=ordered[0],
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        max_ms=ordered[-1],
        mean_ms=round(statistics.fmean(ordered), 4),
    )


def warmed_up(runs_ms: Sequence[float]) -> bool:
    """Whether warming up may end: when the median of the last 5 runs is within 5% of the median of the 5 before, at the latest
    after 50 runs or 10 s. For runs over 2 s, after 2 of them."""
    if len(runs_ms) < MIN_WARMUP_RUNS:
        # Five runs of a model that takes seconds show no more than two.
        return len(runs_ms) >= 2 and min(runs_ms) > SLOW_RUN_MS
    if len(runs_ms) >= MAX_WARMUP_RUNS or sum(runs_ms) >= MAX_WARMUP_MS:
        return True
    if len(runs_ms) < 2 * MIN_WARMUP_RUNS:
        return False
    before = statistics.median(runs_ms[-2 * MIN_WARMUP_RUNS : -MIN_WARMUP_RUNS])
    last = statistics.median(runs_ms[-MIN_WARMUP_RUNS:])
    return abs(last - before) <= STABLE_WITHIN * before


def enough(samples_ms: Sequence[float], iterations: int, max_seconds: float, share: float = 1.0) -> bool:
    """Whether a candidate has been measured: after `iterations` runs, or after `max_seconds` and at least 20 runs (5 for a model
    whose runs take over 2 s). With a `share` below 1, that share of the 20 or 5 is enough."""
    if len(samples_ms) >= iterations:
        return True
    if not samples_ms or sum(samples_ms) < max_seconds * 1000:
        return False
    floor = MIN_SLOW_ITERATIONS if statistics.median(samples_ms) > SLOW_RUN_MS else MIN_ITERATIONS
    return len(samples_ms) >= math.ceil(floor * share)


def block_size(run_ms: float, remaining: int, most: int = MAX_BLOCK) -> int:
    """How many runs a candidate makes in one turn: about one second, 2 to `most`, and no more than `remaining`."""
    return max(1, min(remaining, most, max(2, int(BLOCK_MS / max(run_ms, 1e-6)))))
