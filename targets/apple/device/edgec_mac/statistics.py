"""What is made of samples, and how many are taken: the rules of edgec/latency/statistics.py, so that reports compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median

LEAD_IN_MS = 100.0
"""Of unrecorded runs at the beginning of each block, one at least: compute units fall asleep while others have their turn."""
_MIN_WARMUP, _MAX_WARMUP, _MAX_WARMUP_MS, _STABLE_WITHIN = 5, 50, 10_000.0, 0.05
_MIN_ITERATIONS, _SLOW_RUN_MS, _MIN_SLOW_ITERATIONS = 20, 2_000.0, 5
_MAX_BLOCK, _BLOCK_MS = 10, 1_000.0


def summary(samples_ms: Sequence[float]) -> dict[str, float]:
    """Nearest-rank percentiles and the mean. Nothing is clipped."""
    ordered = sorted(samples_ms)
    ranks = {percent: ordered[math.ceil(percent * len(ordered) / 100) - 1] for percent in (50, 90, 99)}
    return {
        "min_ms": ordered[0],
        "p50_ms": ranks[50],
        "p90_ms": ranks[90],
        "p99_ms": ranks[99],
        "max_ms": ordered[-1],
        "mean_ms": round(fmean(ordered), 4),
    }


def warmed_up(runs_ms: Sequence[float]) -> bool:
    """After at least 5 runs, when the median of the last 5 is within 5 % of that of the 5 before; at the latest after 50 runs or
    10 s."""
    if len(runs_ms) < _MIN_WARMUP:
        return len(runs_ms) >= 2 and min(runs_ms) > _SLOW_RUN_MS
    if len(runs_ms) >= _MAX_WARMUP or sum(runs_ms) >= _MAX_WARMUP_MS:
        return True
    if len(runs_ms) < 2 * _MIN_WARMUP:
        return False
    before = median(runs_ms[-2 * _MIN_WARMUP : -_MIN_WARMUP])
    return abs(median(runs_ms[-_MIN_WARMUP:]) - before) <= _STABLE_WITHIN * before


def enough(samples_ms: Sequence[float], iterations: int, max_seconds: float) -> bool:
    """`iterations` runs, or `max_seconds` of them once there are at least 20, or 5 where a run takes over 2 s."""
    if len(samples_ms) >= iterations:
        return True
    if not samples_ms or sum(samples_ms) < max_seconds * 1000:
        return False
    return len(samples_ms) >= (_MIN_SLOW_ITERATIONS if median(samples_ms) > _SLOW_RUN_MS else _MIN_ITERATIONS)


def block_size(run_ms: float, wanted: int) -> int:
    """Runs in one turn: about a second's worth, 2 to 10, and no more than are still `wanted`."""
    return max(1, min(wanted, _MAX_BLOCK, max(2, int(_BLOCK_MS / max(run_ms, 1e-6)))))
