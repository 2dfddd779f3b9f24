"""The arithmetic of fidelity with numpy, for machines that have it: `edgec.onboard.arithmetic` says what each function is to
give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arithmetic import GARBAGE, MOST_CLASSES, Depths, Pairs, Scores

_TINY = float(np.finfo(np.float32).tiny)


def cosines(expected: NDArray[Any], actual: NDArray[Any]) -> NDArray[np.float64]:
    """The cosine of every feature vector (last axis) to its expected one, shape `expected.shape[:-1]`, in float64.

    A vector that is not finite, or zero where the expected one is not, has cosine -1: garbage must not average away.
    """
    a, b = expected.astype(np.float64), actual.astype(np.float64)
    with np.errstate(all="ignore"):
        dot = (a * b).sum(axis=-1)
        norms = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
        cosine = np.where(norms > 0, dot / norms, np.where((a == b).all(axis=-1), 1.0, -1.0))
    result: NDArray[np.float64] = np.where(np.isfinite(cosine) & np.isfinite(b).all(axis=-1), np.clip(cosine, -1, 1), -1.0)
    return result


def vectors(expected: NDArray[Any], actual: NDArray[Any], width: int) -> NDArray[np.float64]:
    return cosines(expected.reshape(-1, width), actual.reshape(-1, width))


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts)


def total(values: NDArray[Any]) -> float:
    return float(values.sum())


def mean(values: NDArray[Any] | Sequence[float]) -> float:
    return float(np.mean(values))


def percentile(values: NDArray[Any], percent: float) -> float:
    return float(np.percentile(values, percent))


def finite(values: NDArray[Any]) -> tuple[int, float, float]:
    sound = np.isfinite(values)
    count = int(sound.sum())
    if count < values.size:
        values = values[sound]
    return count, float(values.min()) if count else 0.0, float(values.max()) if count else 0.0


def largest(values: NDArray[Any]) -> float:
    return max(float(np.abs(values).max()), _TINY)


def difference(expected: NDArray[Any], actual: NDArray[Any]) -> float:
    with np.errstate(all="ignore"):
        lost = float(np.abs(actual.astype(np.float64).reshape(-1) - expected.reshape(-1)).max())
    return lost if np.isfinite(lost) else np.inf


def agreement(expected: NDArray[Any], actual: NDArray[Any]) -> float:
    return float((expected.reshape(-1) == actual.reshape(-1)).mean())


def scores(expected: NDArray[Any], actual: NDArray[Any], classes: int) -> Scores:
    expected, actual = expected.reshape(-1, classes).astype(np.float64), actual.reshape(-1, classes)
    whole = np.isfinite(actual).all(axis=1)
    actual = np.where(np.isfinite(actual), actual, -GARBAGE).astype(np.float64)
    best, rows = expected.argmax(axis=1), np.arange(len(expected))
    margins = []
    for each in (expected, actual):
        others = each.copy()
        others[rows, best] = -np.inf
        rival = others.max(axis=1) if classes > 1 else np.zeros(len(each))
        margins.append(each[rows, best] - rival)
    shipped = np.where(whole, margins[1], -GARBAGE)
    agreed = int(((actual.argmax(axis=1) == best) & whole).sum())
    return Scores(agreed, float(margins[0].sum()), float(shipped.sum()), float(shipped.min()))


def labels(expected: NDArray[Any], actual: NDArray[Any], classes: int = 0) -> Pairs:
    return _pairs(_whole(expected), _whole(actual), classes)


def logits(expected: NDArray[Any], actual: NDArray[Any], classes: int, pixels: int) -> Pairs:
    shape = (-1, classes, pixels)
    return _pairs(_best(expected.reshape(shape)), _best(actual.reshape(shape)), classes)


def depths(expected: NDArray[Any], actual: NDArray[Any]) -> Depths:
    expected = expected.astype(np.float64)
    size = np.maximum(np.abs(expected), _TINY)
    with np.errstate(invalid="ignore", over="ignore"):
        lost = np.abs(actual.astype(np.float64) - expected)
    lost = np.where(np.isfinite(lost), lost, GARBAGE * size)
    relative, squared = np.minimum(lost / size, GARBAGE).sum(), np.square(lost).sum()
    return Depths(float(relative), float(squared), int(lost.size))


def _pairs(expected: NDArray[np.int64], actual: NDArray[np.int64], classes: int) -> Pairs:
    """By a table with a column for what is no class; labels that are none of `MOST_CLASSES` cost no memory."""
    low = int(expected.min())
    most = classes or max(MOST_CLASSES, int(expected.max()) + 1)
    actual = np.where((actual < 0) | (actual >= most), -1, actual)
    rows, columns = int(expected.max()) - low + 1, int(actual.max()) + 2
    counts = np.bincount(((expected - low) * columns + actual + 1).ravel(), minlength=rows * columns)
    found: Pairs = Counter()
    for place in np.flatnonzero(counts):
        found[int(place) // columns + low, int(place) % columns - 1] = int(counts[place])
    return found


def _best(values: NDArray[Any]) -> NDArray[np.int64]:
    """[N, C, pixels] to labels; -1 where a logit is not finite."""
    sound = np.isfinite(values)
    best = np.where(sound, values, -np.inf).argmax(axis=1)
    return np.asarray(np.where(sound.all(axis=1), best, -1), np.int64)


def _whole(values: NDArray[Any]) -> NDArray[np.int64]:
    """Labels that runtimes hand over as floats, rounded; -1 where they are not finite or below zero."""
    found = np.where(np.isfinite(values), values, -1)
    return np.asarray(np.clip(np.rint(found), -1, 2**31), np.int64)
