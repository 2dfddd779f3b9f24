"""Two candidates that took turns, compared turn by turn: other work on the machine hits both alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgec.latency.bootstrap import QUANTILES, SampledRun, paired_ratio, quantile
from edgec.records.report import Block

FEWEST_ROUNDS = 5
"""Of which an interval can be made."""
_MEDIAN = QUANTILES["p50"]


@dataclass(frozen=True)
class Span:
    """How many times as long the second takes, at the median: a 95 % interval. `low` and `high` are equal where the two had too
    few rounds in common for one."""

    low: float
    high: float


def sampled(samples_ms: Sequence[float], blocks: Sequence[Block]) -> SampledRun:
    """Samples in the order taken, with the round and process of each."""
    runs = np.array([block.runs for block in blocks], dtype=np.int64)

    def by_sample(values: list[int]) -> NDArray[np.int64]:
        return np.repeat(np.array(values, dtype=np.int64), runs)

    rounds, processes = [block.round for block in blocks], [block.process for block in blocks]
    return SampledRun(np.array(samples_ms), by_sample(rounds), by_sample(processes))


def time_ratio(first: SampledRun, second: SampledRun) -> Span:
    """The second's median latency over the first's."""
    if first is second:
        return Span(1.0, 1.0)
    if len(np.intersect1d(first.rounds, second.rounds)) < FEWEST_ROUNDS:
        value = quantile(second.samples, _MEDIAN) / quantile(first.samples, _MEDIAN)
        return Span(value, value)
    ratio = paired_ratio(first, second, _MEDIAN)
    return Span(ratio.low, ratio.high)
