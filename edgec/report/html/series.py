"""Samples made ready to be drawn: fewer and rounded, as far as no reader can see the difference."""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def rounded(value: float) -> float:
    """To `DIGITS` significant digits."""
    return float(f"{value:.{DIGITS}g}")


def wide(samples: Sequence[float]) -> bool:
    """Whether these need a logarithmic axis."""
    return bool(samples) and min(samples) > 0 and max(samples) / min(samples) > _WIDE


def thinned(samples: Sequence[float]) -> list[int]:
    """The indices of the samples that are drawn as points, in ascending order. The extremes always are."""
    values = np.asarray(samples, dtype=np.float64)
    count = len(values)
    if count <= _WHOLE:
        return list(range(count))
    low, high = float(values.min()), float(values.max())
    column = np.arange(count) * _COLUMNS // count
    row = ((values - low) / max(high - low, 1e-12) * (_ROWS - 1)).round().astype(np.int64)
    _, first = np.unique(column * _ROWS + row, return_index=True)
    indices = {*map(int, first), int(values.argmin()), int(values.argmax())}
    return sorted(indices)


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
    indices = np.union1d(body, np.arange(max(0, count - _TAIL), count))
    return [(rounded(values[index]), rounded((count - int(index)) / count)) for index in indices]


def above(samples: Sequence[float], limit_ms: float) -> float:
    """The share of all samples above a limit."""
    return float(np.mean(np.asarray(samples, dtype=np.float64) > limit_ms))


def bands(blocks: Sequence[Block]) -> list[tuple[int, int, int]]:
    """Index of the first sample, index after the last, and round of every second block: these are shaded, so that turns show."""
    shaded, start = [], 0
    for number, block in enumerate(blocks):
        if number % 2:
            shaded.append((start, start + block.runs, block.round))
        start += block.runs
    return shaded
