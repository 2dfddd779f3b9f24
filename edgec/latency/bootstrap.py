"""Confidence intervals for a ratio of two latencies, from samples that depend on one another and runs that differ from each
other.

A run is what one report holds. Within each of its processes, samples are resampled in circular blocks, as long as the samples
depend on one another (Politis and White, Automatic Block-Length Selection for the Dependent Bootstrap, Econometric Reviews 23,
2004, corrected by Patton, Politis and White, 28, 2009). That alone raises false alarms: two runs of the same thing differ by more
than their samples show, because memory was laid out differently and because the machine did other work (Kalibera and Jones,
Quantifying Performance Changes with Effect Size Confidence Intervals, arXiv 2007.10899). So if a run has several processes, each
begun at another time, the processes are resampled first, and then their samples. That does not show what all processes of a run
have in common. Several runs a side do; if there is only one, a deviation is assumed. Most of it is the machine's speed, which is
taken out before if both sides have a yardstick (`pace`). If not, movements between a run's tenths are not assumed to average out,
because they may as well move the whole run. Two candidates that took turns in one run are compared turn by turn instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from edgec.onboard.statistics import nearest_rank

Floats = NDArray[np.float64]

QUANTILES = {"p50": 0.50, "p99": 0.99}
CONFIDENCE = 0.95
POWER = 0.8

DRAWS = 2000
_REDRAWS, _FEWEST = 1000, 300
_ELEMENTS = 1_000_000
"""How often samples are resampled: long series less often, because their quantiles vary less and 50 reports would take long."""

_STRETCHES = 10
LEVEL_FLOOR = 0.01
"""Least standard deviation of a run's level, relative. An assumption: `python -m benchmarks aa` prints what it is here."""
_LEVEL_WEIGHT = 4
"""The weight of the assumed deviation, in runs: the degrees of freedom if each side has one run."""

_NONE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class SampledRun:
    """The samples of one report, in milliseconds, positive, in the order taken. By sample, `rounds` is the round of its block and
    `processes` the process that ran it; both are empty if not known. `paced`: differences in the machine's speed were taken out.
    """

    samples: Floats
    rounds: NDArray[np.int64] = field(default_factory=lambda: _NONE)
    processes: NDArray[np.int64] = field(default_factory=lambda: _NONE)
    paced: bool = False

    @cached_property
    def parts(self) -> tuple[Floats, ...]:
        """The samples of each process."""
        if len(self.processes) == 0:
            return (self.samples,)
        order = np.argsort(self.processes, kind="stable")
        ends = np.flatnonzero(np.diff(self.processes[order])) + 1
        return tuple(np.split(self.samples[order], ends))

    @cached_property
    def draws(self) -> Floats:
        """Resampled runs, [draws, samples]: processes are drawn, if there are several, and then blocks of each one's samples."""
        count, parts = len(self.samples), len(self.parts)
        number = max(_FEWEST, min(_REDRAWS, _ELEMENTS // count))
        chance, length = np.random.default_rng(count), math.ceil(count / parts)
        drawn = np.stack([_redrawn(part, number, length, chance) for part in self.parts])
        if parts == 1:
            alone: Floats = drawn[0]
            return alone
        chosen, rows = chance.integers(0, parts, (number, parts)), chance.integers(0, number, (number, parts))
        together: Floats = drawn[chosen, rows].reshape(number, -1)[:, :count]
        return together

    def drift(self, share: float) -> float:
        """The standard deviation of the logarithm of the `share` quantile over the run's tenths."""
        stretches = np.array_split(self.samples, max(2, min(_STRETCHES, len(self.samples) // 3)))
        return float(np.std([math.log(quantile(stretch, share)) for stretch in stretches], ddof=1))


def _redrawn(samples: Floats, number: int, count: int, chance: np.random.Generator) -> Floats:
    """The samples resampled in circular blocks, [number, count]."""
    length = block_length(samples)
    starts = chance.integers(0, len(samples), (number, math.ceil(count / length), 1))
    taken = (starts + np.arange(length)) % len(samples)
    drawn: Floats = samples[taken.reshape(number, -1)[:, :count]]
    return drawn


@dataclass(frozen=True)
class Ratio:
    """The second side's quantile over the first's, with its interval. `shown`: the smallest slowdown, as a ratio, that data like
    this would show four times out of five."""

    value: float
    low: float
    high: float
    shown: float


def samples_needed(share: float) -> int:
    """The smallest number of samples that gives an interval of `CONFIDENCE` for the `share` quantile: with fewer, the quantile is
    too often beyond all of them."""
    return math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log(max(share, 1 - share)))


def quantile(samples: Floats, share: float) -> float:
    """By nearest rank, as in reports."""
    rank = nearest_rank(len(samples), share)
    return float(np.partition(samples, rank)[rank])


def level_ms(side: Sequence[SampledRun], share: float) -> float:
    """The side's `share` quantile: the geometric mean of its runs' quantiles, because runs differ; over all samples together if
    runs are too short to have one each."""
    if _apart(side, share):
        return math.exp(float(np.mean([math.log(quantile(run.samples, share)) for run in side])))
    return quantile(np.concatenate([run.samples for run in side]), share)


def ratio(first: Sequence[SampledRun], second: Sequence[SampledRun], share: float, *, doubt: float = 0.0) -> Ratio:
    """The ratio with a 95 % interval. Each side has a run or more, of `samples_needed(share)` samples together at least. `doubt`
    is a standard deviation of the ratio's logarithm that the samples do not show."""
    chance = np.random.default_rng(0)
    value = math.log(level_ms(second, share) / level_ms(first, share))
    drawn = [_deviations(tuple(side), share) for side in (first, second)]
    within = chance.choice(drawn[1], DRAWS) - chance.choice(drawn[0], DRAWS)
    level, level_freedom = _level(first, second, share)
    spread = math.hypot(level * math.sqrt(1 / len(first) + 1 / len(second)), doubt)
    freedom: float = level_freedom
    if any(len(run.parts) > 1 for run in (*first, *second)):
        # Welch and Satterthwaite: each part of the variance counts with the degrees of freedom that it was estimated with.
        parts: list[tuple[float, float]] = [(spread**2, level_freedom)]
        parts += [(float(np.var(each)), _freedom(side)) for side, each in zip((first, second), drawn, strict=True)]
        freedom = sum(variance for variance, _ in parts) ** 2 / sum(variance**2 / degrees for variance, degrees in parts)
    return _ratio(value, within + chance.normal(0, spread, DRAWS), freedom, chance)


def paired_ratio(first: SampledRun, second: SampledRun, share: float) -> Ratio:
    """As `ratio`, for two runs that took turns in the same rounds."""
    chance = np.random.default_rng(0)
    value = math.log(quantile(second.samples, share) / quantile(first.samples, share))
    rounds = np.intersect1d(first.rounds, second.rounds)
    drawn = chance.integers(0, len(rounds), (DRAWS, len(rounds)))
    one, other = (_quantiles([run.samples[run.rounds == number] for number in rounds], drawn, share) for run in (first, second))
    spread = LEVEL_FLOOR * math.sqrt(2)
    return _ratio(value, np.log(other / one) - value + chance.normal(0, spread, DRAWS), len(rounds) - 1, chance)


def _quantiles(blocks: Sequence[Floats], drawn: NDArray[np.int64], share: float) -> Floats:
    """The `share` quantile of the blocks that each row of `drawn` names."""
    if len({len(block) for block in blocks}) > 1:
        return np.array([quantile(np.concatenate([blocks[index] for index in row]), share) for row in drawn])
    whole = np.stack(blocks)
    rank = nearest_rank(whole.size, share)
    # Some rows at a time: all of them would be a copy of the samples for each draw.
    step = max(1, _ELEMENTS // whole.size)
    parts = (whole[rows].reshape(len(rows), -1) for rows in np.split(drawn, range(step, len(drawn), step)))
    quantiles: Floats = np.concatenate([np.partition(part, rank, axis=1)[:, rank] for part in parts])
    return quantiles


def _ratio(value: float, deviations: Floats, freedom: float, chance: np.random.Generator) -> Ratio:
    # Student's factor, drawn at random: with few degrees of freedom the deviations may be too small.
    scaled = np.sqrt(freedom / chance.chisquare(freedom, len(deviations))) * deviations
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(scaled, (tail, 1 - tail))
    power = float(np.quantile(scaled, POWER))
    return Ratio(math.exp(value), math.exp(value + low), math.exp(value + high), math.exp(power - low))


def block_length(samples: Floats) -> int:
    """The length of circular blocks, from the autocorrelation of the samples' ranks, so that outliers do not count by their
    size."""
    count = len(samples)
    _, positions, ties = np.unique(samples, return_inverse=True, return_counts=True)
    centred = (np.cumsum(ties) - ties / 2)[positions] - count / 2
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


def _apart(side: Sequence[SampledRun], share: float) -> bool:
    return all(len(run.samples) >= samples_needed(share) for run in side)


@lru_cache(maxsize=128)
def _deviations(side: tuple[SampledRun, ...], share: float) -> Floats:
    """Deviations of the side's log quantile when its runs are resampled. Cached, because the first side is compared with every
    other."""
    number = min(len(run.draws) for run in side)
    draws = [run.draws[:number] for run in side]
    series = draws if _apart(side, share) else [np.concatenate(draws, axis=1)]
    ranks = [nearest_rank(drawn.shape[1], share) for drawn in series]
    logarithms = [np.log(np.partition(drawn, rank, axis=1)[:, rank]) for drawn, rank in zip(series, ranks, strict=True)]
    mean: Floats = np.mean(logarithms, axis=0)
    # If there are few processes, resampled runs differ too little from one another.
    processes = np.array([len(run.parts) for run in side])
    few = float(np.mean([parts / (parts - 1) for parts in processes if parts > 1] or [1.0]))
    return (mean - math.log(level_ms(side, share))) * math.sqrt(few)


def _freedom(side: Sequence[SampledRun]) -> float:
    """The degrees of freedom of the spread that the side's draws show."""
    several = [len(run.parts) - 1 for run in side if len(run.parts) > 1]
    return sum(several) if several else math.inf


def _level(first: Sequence[SampledRun], second: Sequence[SampledRun], share: float) -> tuple[float, int]:
    """The standard deviation of a run's log level, and its degrees of freedom: what the drift within runs of the less steady side
    suggests, or more if runs of one side differ by more. It never becomes less, because a few runs may agree by chance."""
    sides = first, second
    assumed = max(float(np.mean([_assumed(run, share) ** 2 for run in side])) for side in sides)
    squares = sum(float(np.var([math.log(quantile(run.samples, share)) for run in side])) * len(side) for side in sides)
    freedom = _LEVEL_WEIGHT + len(first) + len(second) - 2
    pooled = (_LEVEL_WEIGHT * assumed + squares) / freedom
    return (math.sqrt(pooled), freedom) if pooled > assumed else (math.sqrt(assumed), _LEVEL_WEIGHT)


def _assumed(run: SampledRun, share: float) -> float:
    """The assumed deviation of a run's level. Differences between processes of a run are in its draws; the machine's speed is
    not, unless it was taken out."""
    return LEVEL_FLOOR if run.paced else max(LEVEL_FLOOR, run.drift(share))
