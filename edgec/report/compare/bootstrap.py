"""How sure a ratio of two latencies is, from samples that depend on one another and runs that differ by more than those tell.

Within a run, samples are drawn again in circular blocks, as long as the samples depend on one another (Politis and White,
Automatic Block-Length Selection for the Dependent Bootstrap, Econometric Reviews 23, 2004, corrected by Patton, Politis and
White, 28, 2009). That alone raises false alarms: two runs of one thing differ by more than their samples tell, by how memory
was laid out and by what else the machine did (Kalibera and Jones, Quantifying Performance Changes with Effect Size Confidence
Intervals, arXiv 2007.10899). So a run's own level is another random effect. Where a side has several runs, they tell how large
it is. Where it has one, what moved the run's tenths against one another is not assumed to average out: it may as well move the
whole run. Two candidates that took turns in one run are compared turn by turn instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

QUANTILES = {"p50": 0.50, "p99": 0.99}
CONFIDENCE = 0.95
POWER = 0.8

DRAWS = 2000
_REDRAWS, _FEWEST = 1000, 300
_ELEMENTS = 1_000_000
"""How often samples are drawn again. Long series less often: their quantiles vary less, and 50 reports take seconds."""

_STRETCHES = 10
LEVEL_FLOOR = 0.01
"""Least standard deviation of a run's level, relative. An assumption: `python -m benchmarks aa` prints what it is here."""
_LEVEL_WEIGHT = 4
"""As how many runs beyond the first what is assumed of the level counts: the degrees of freedom where a side has one run."""


@dataclass(frozen=True, eq=False)
class Run:
    """Samples in milliseconds, positive, in the order taken. `rounds` is by sample the round of its block, empty if not told."""

    samples: Floats
    rounds: NDArray[np.int64]

    @cached_property
    def draws(self) -> Floats:
        """The samples drawn again in blocks, [draws, samples]."""
        count, length = len(self.samples), block_length(self.samples)
        number = max(_FEWEST, min(_REDRAWS, _ELEMENTS // count))
        starts = np.random.default_rng(count).integers(0, count, (number, math.ceil(count / length), 1))
        taken = (starts + np.arange(length)) % count
        drawn: Floats = self.samples[taken.reshape(number, -1)[:, :count]]
        return drawn

    def drift(self, share: float) -> float:
        """Standard deviation of the logarithm of the `share` quantile over the run's tenths."""
        stretches = np.array_split(self.samples, max(2, min(_STRETCHES, len(self.samples) // 3)))
        return float(np.std([math.log(quantile(stretch, share)) for stretch in stretches], ddof=1))


@dataclass(frozen=True)
class Ratio:
    """Of a quantile, the second side's over the first's. `shown`: the least slowdown, as a ratio, that data like this would have
    shown four times out of five."""

    value: float
    low: float
    high: float
    shown: float


def needed(share: float) -> int:
    """Samples below which no interval of `CONFIDENCE` for the `share` quantile can be given: with fewer, even the largest of
    them is too often below it."""
    return math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log(max(share, 1 - share)))


def quantile(samples: Floats, share: float) -> float:
    """By nearest rank, as reports have it."""
    return float(np.partition(samples, _rank(len(samples), share))[_rank(len(samples), share)])


def level_ms(side: Sequence[Run], share: float) -> float:
    """The side's `share` quantile: the geometric mean of its runs', because runs differ; over all samples together where runs
    are too short to have one."""
    if _apart(side, share):
        return math.exp(float(np.mean([math.log(quantile(run.samples, share)) for run in side])))
    return quantile(np.concatenate([run.samples for run in side]), share)


def ratio(first: Sequence[Run], second: Sequence[Run], share: float, *, paired: bool = False) -> Ratio:
    """With a 95 % interval. Each side has a run or more, of `needed(share)` samples together at least.

    `paired`: each side is one run, and both took turns in the same rounds.
    """
    random = np.random.default_rng(0)
    value = math.log(level_ms(second, share) / level_ms(first, share))
    if paired:
        within = _paired_deviations(first[0], second[0], share, random) - value
        level, freedom = LEVEL_FLOOR, len(_common_rounds(first[0], second[0])) - 1
    else:
        drawn = [random.choice(_drawn_quantiles(tuple(side), share), DRAWS) for side in (first, second)]
        within = drawn[1] - drawn[0] - value
        level, freedom = _level(first, second, share)
    spread = level * math.sqrt(1 / len(first) + 1 / len(second))
    # Student's factor, drawn: with few degrees of freedom the deviations may be too small by as much.
    factor = np.sqrt(freedom / random.chisquare(freedom, len(within)))
    deviations = factor * (within + random.normal(0, spread, len(within)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(deviations, (tail, 1 - tail))
    power = float(np.quantile(deviations, POWER))
    return Ratio(math.exp(value), math.exp(value + low), math.exp(value + high), math.exp(power - low))


def block_length(samples: Floats) -> int:
    """Of circular blocks, from the autocorrelation of the samples' ranks, so that outliers do not count by their size."""
    count = len(samples)
    _, places, ties = np.unique(samples, return_inverse=True, return_counts=True)
    centred = (np.cumsum(ties) - ties / 2)[places] - count / 2
    if len(ties) == 1:
        return 1
    quiet = max(5, math.ceil(math.log10(count)))
    last = min(count - 1, math.ceil(math.sqrt(count)) + quiet)
    covariances = np.array([centred[lag:] @ centred[: count - lag] for lag in range(last + 1)]) / count
    loud = np.abs(covariances[1:]) > 2 * math.sqrt(math.log10(count) / count) * covariances[0]
    memory = next((lag for lag in range(last) if not loud[lag : lag + quiet].any()), last)
    if memory == 0:
        return 1
    lags = np.arange(1, min(2 * memory, last) + 1)
    weights = 2 * np.minimum(0.5, 1 - lags / lags[-1]) * covariances[lags]
    density = covariances[0] + 2 * weights.sum()
    bias = 2 * (lags * weights).sum()
    longest = max(1, int(min(3 * math.sqrt(count), count / 3)))
    if density <= 0:
        return longest
    best: float = float(1.5 * (bias / density) ** 2 * count) ** (1 / 3)
    return min(longest, max(1, math.ceil(best)))


def _apart(side: Sequence[Run], share: float) -> bool:
    return all(len(run.samples) >= needed(share) for run in side)


def _rank(count: int, share: float) -> int:
    # Products such as 0.99 * 100 come out a hair above the whole number.
    return max(0, math.ceil(round(share * count, 9)) - 1)


@lru_cache(maxsize=128)
def _drawn_quantiles(side: tuple[Run, ...], share: float) -> Floats:
    """The side's log quantile each time that its runs are drawn again. The first side is asked for with every other."""
    number = min(len(run.draws) for run in side)
    draws = [run.draws[:number] for run in side]
    series = draws if _apart(side, share) else [np.concatenate(draws, axis=1)]
    ranks = [_rank(drawn.shape[1], share) for drawn in series]
    found = [np.log(np.partition(drawn, rank, axis=1)[:, rank]) for drawn, rank in zip(series, ranks, strict=True)]
    mean: Floats = np.mean(found, axis=0)
    return mean


def _level(first: Sequence[Run], second: Sequence[Run], share: float) -> tuple[float, int]:
    """Standard deviation of a run's log level, and its degrees of freedom: what drift within the runs of the less steady side
    makes likely, or more if runs of one side differ by more. That a few runs agree proves nothing: it never becomes less."""
    sides = first, second
    assumed = max(float(np.mean([max(LEVEL_FLOOR, run.drift(share)) ** 2 for run in side])) for side in sides)
    squares = sum(float(np.var([math.log(quantile(run.samples, share)) for run in side])) * len(side) for side in sides)
    freedom = _LEVEL_WEIGHT + len(first) + len(second) - 2
    found = (_LEVEL_WEIGHT * assumed + squares) / freedom
    return (math.sqrt(found), freedom) if found > assumed else (math.sqrt(assumed), _LEVEL_WEIGHT)


def _common_rounds(first: Run, second: Run) -> NDArray[np.int64]:
    return np.intersect1d(first.rounds, second.rounds)


def _paired_deviations(first: Run, second: Run, share: float, random: np.random.Generator) -> Floats:
    """Log ratios, [DRAWS], when rounds are drawn again, the same for both."""
    rounds = _common_rounds(first, second)
    blocks = [[run.samples[run.rounds == number] for number in rounds] for run in (first, second)]
    found = []
    for drawn in random.integers(0, len(rounds), (DRAWS, len(rounds))):
        one, other = (quantile(np.concatenate([side[index] for index in drawn]), share) for side in blocks)
        found.append(math.log(other / one))
    return np.array(found)
