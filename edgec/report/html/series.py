"""Samples made ready to be drawn: fewer and rounder, as far as nobody can see it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgec.records.report import Block

RATES_HZ = (10, 15, 24, 30, 60)
"""Of cameras that robots have."""
DIGITS = 4
"""Significant digits of what is drawn; tables say what the report says."""

_WHOLE, _COLUMNS, _ROWS = 1500, 900, 300
"""Up to so many samples are all drawn. Of more, one in each cell of a grid about as fine as a chart's pixels."""
_BINS = 60
_STEPS, _TAIL = 200, 60
_WIDE = 4.0
"""Above this ratio of the largest to the smallest, a chart's axis is logarithmic."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Thinned:
    """`places` are indices among the samples, in order."""

    places: tuple[int, ...]
    of: int


def rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def wide(samples: Sequence[float]) -> bool:
    return bool(samples) and min(samples) > 0 and max(samples) / min(samples) > _WIDE


def thinned(samples: Sequence[float]) -> Thinned:
    """Those that are drawn as points, one after another. The extremes always are."""
    values = np.asarray(samples, dtype=np.float64)
    count = len(values)
    if count <= _WHOLE:
        return Thinned(tuple(range(count)), count)
    low, high = float(values.min()), float(values.max())
    column = np.arange(count) * _COLUMNS // count
    row = ((values - low) / max(high - low, 1e-12) * (_ROWS - 1)).round().astype(np.int64)
    _, first = np.unique(column * _ROWS + row, return_index=True)
    kept = {*map(int, first), int(values.argmin()), int(values.argmax())}
    return Thinned(tuple(sorted(kept)), count)


def histogram(samples: Sequence[float]) -> list[tuple[float, float, int]]:
    """Lower and upper edge and count of each bin that is not empty, over all samples."""
    values = np.asarray(samples, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    if low == high:
        return [(low * 0.995, high * 1.005, len(values))]
    count = min(_BINS, max(8, math.ceil(2 * math.sqrt(len(values)))))
    edges = np.geomspace(low, high, count + 1) if wide(samples) else np.linspace(low, high, count + 1)
    edges[0], edges[-1] = low, high
    counts, _ = np.histogram(values, edges)
    return [(rounded(edges[i]), rounded(edges[i + 1]), int(counts[i])) for i in range(count) if counts[i]]


def slower_share(samples: Sequence[float]) -> list[tuple[float, float]]:
    """The share of samples at or above each time. The slowest are all there; of the others as many as a curve needs."""
    values = np.sort(np.asarray(samples, dtype=np.float64))
    count = len(values)
    body = np.unique(np.linspace(0, count - 1, min(count, _STEPS)).round().astype(np.int64))
    places = np.union1d(body, np.arange(max(0, count - _TAIL), count))
    return [(rounded(values[place]), rounded((count - int(place)) / count)) for place in places]


def above(samples: Sequence[float], limit_ms: float) -> float:
    """The share of all samples above a limit."""
    return float(np.mean(np.asarray(samples, dtype=np.float64) > limit_ms))


def bands(blocks: Sequence[Block]) -> list[tuple[int, int, int]]:
    """First sample, one behind the last, and round of every second block: shaded, so that turns can be told apart."""
    found, start = [], 0
    for number, block in enumerate(blocks):
        if number % 2:
            found.append((start, start + block.runs, block.round))
        start += block.runs
    return found
