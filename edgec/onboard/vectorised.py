"""`arithmetic.Arithmetic` with numpy, for machines that have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arithmetic import GARBAGE, MOST_CLASSES, Depths, Pairs, Scores

_TINY = float(np.finfo(np.float32).tiny)


def cosines(expected: NDArray[Any], actual: NDArray[Any]) -> NDArray[np.float64]:
    """The cosine of every feature vector (last axis) with its expected one, shape `expected.shape[:-1]`, in float64.

    A vector that is not finite, or zero where the expected one is not, has cosine -1: garbage must show in an average.
    """
    a, b = expected.astype(np.float64), actual.astype(np.float64)
    with np.errstate(all="ignore"):
        dot = (a * b).sum(axis=-1)
        norms = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
        cosine = np.where(norms > 0, dot / norms, np.where((a == b).all(axis=-1), 1.0, -1.0))
    result: NDArray[np.float64] = np.where(np.isfinite(cosine) & np.isfinite(b).all(axis=-1), np.clip(cosine, -1, 1), -1.0)
    return result


def vector_cosines(expected: NDArray[Any], actual: NDArray[Any], width: int) -> NDArray[np.float64]:
    """See `Arithmetic.vector_cosines`; a flat array."""
    return cosines(expected.reshape(-1, width), actual.reshape(-1, width))


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """See `Arithmetic.joined`."""
    return np.concatenate(parts)


def total(values: NDArray[Any]) -> float:
    """See `Arithmetic.total`."""
    return float(values.sum())


def mean(values: NDArray[Any] | Sequence[float]) -> float:
    """See `Arithmetic.mean`."""
    return float(np.mean(values))


def percentile(values: NDArray[Any], percent: float) -> float:
    """See `Arithmetic.percentile`."""
    return float(np.percentile(values, percent))


def finite(values: NDArray[Any]) -> tuple[int, float, float]:
    """See `Arithmetic.finite`."""
    is_finite = np.isfinite(values)
    count = int(is_finite.sum())
    if count < values.size:
        values = values[is_finite]
    return count, float(values.min()) if count else 0.0, float(values.max()) if count else 0.0


def largest(values: NDArray[Any]) -> float:
    """See `Arithmetic.largest`."""
    return max(float(np.abs(values).max()), _TINY)


def difference(expected: NDArray[Any], actual: NDArray[Any]) -> float:
    """See `Arithmetic.difference`."""
    with np.errstate(all="ignore"):
        most = float(np.abs(actual.astype(np.float64).reshape(-1) - expected.reshape(-1)).max())
    return most if np.isfinite(most) else np.inf


def agreement(expected: NDArray[Any], actual: NDArray[Any]) -> float:
    """See `Arithmetic.agreement`."""
    return float((expected.reshape(-1) == actual.reshape(-1)).mean())


def scores(expected: NDArray[Any], actual: NDArray[Any], classes: int) -> Scores:
    """See `Arithmetic.scores`."""
    expected, actual = expected.reshape(-1, classes).astype(np.float64), actual.reshape(-1, classes)
    is_finite = np.isfinite(actual).all(axis=1)
    actual = np.where(np.isfinite(actual), actual, -GARBAGE).astype(np.float64)
    best, rows = expected.argmax(axis=1), np.arange(len(expected))
    margins = []
    for values in (expected, actual):
        others = values.copy()
        others[rows, best] = -np.inf
        rival = others.max(axis=1) if classes > 1 else np.zeros(len(values))
        margins.append(values[rows, best] - rival)
    shipped = np.where(is_finite, margins[1], -GARBAGE)
    agreed = int(((actual.argmax(axis=1) == best) & is_finite).sum())
    return Scores(agreed, float(margins[0].sum()), float(shipped.sum()), float(shipped.min()))


def labels(expected: NDArray[Any], actual: NDArray[Any], classes: int = 0) -> Pairs:
    """See `Arithmetic.labels`."""
    return _pairs(_rounded(expected), _rounded(actual), classes)


def logits(expected: NDArray[Any], actual: NDArray[Any], classes: int, pixels: int) -> Pairs:
    """See `Arithmetic.logits`."""
    shape = (-1, classes, pixels)
    return _pairs(_best(expected.reshape(shape)), _best(actual.reshape(shape)), classes)


def depths(expected: NDArray[Any], actual: NDArray[Any]) -> Depths:
    """See `Arithmetic.depths`."""
    expected = expected.astype(np.float64)
    size = np.maximum(np.abs(expected), _TINY)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(actual.astype(np.float64) - expected)
    error = np.where(np.isfinite(error), error, GARBAGE * size)
    relative, squared = np.minimum(error / size, GARBAGE).sum(), np.square(error).sum()
    return Depths(float(relative), float(squared), int(error.size))


def squared_distance(vector: NDArray[Any], mean: NDArray[Any], weights: NDArray[Any], axes: NDArray[Any]) -> float:
    """See `Arithmetic.squared_distance`."""
    with np.errstate(all="ignore"):
        away = (vector.astype(np.float64) - mean) * weights
    if not np.isfinite(away).all():
        return np.inf
    along = axes.reshape(-1, len(away)).astype(np.float64) @ away
    return float(away @ away - along @ along)


def _pairs(expected: NDArray[np.int64], actual: NDArray[np.int64], classes: int) -> Pairs:
    """Counted in a table with one column for labels of no class, so that labels beyond `MOST_CLASSES` need no memory."""
    low = int(expected.min())
    most = classes or max(MOST_CLASSES, int(expected.max()) + 1)
    actual = np.where((actual < 0) | (actual >= most), -1, actual)
    rows, columns = int(expected.max()) - low + 1, int(actual.max()) + 2
    counts = np.bincount(((expected - low) * columns + actual + 1).ravel(), minlength=rows * columns)
    pairs: Pairs = Counter()
    for index in np.flatnonzero(counts):
        pairs[int(index) // columns + low, int(index) % columns - 1] = int(counts[index])
    return pairs


def _best(values: NDArray[Any]) -> NDArray[np.int64]:
    """The best label of each pixel of [N, C, pixels]; -1 where a logit is not finite."""
    is_finite = np.isfinite(values)
    best = np.where(is_finite, values, -np.inf).argmax(axis=1)
    return np.asarray(np.where(is_finite.all(axis=1), best, -1), np.int64)


def _rounded(values: NDArray[Any]) -> NDArray[np.int64]:
    """Labels, which runtimes may return as floats, as integers; -1 where they are not finite or below zero."""
    finite_values = np.where(np.isfinite(values), values, -1)
    return np.asarray(np.clip(np.rint(finite_values), -1, 2**31), np.int64)
