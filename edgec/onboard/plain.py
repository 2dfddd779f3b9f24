"""`arithmetic.Arithmetic` in plain Python, for boards without numpy. Arrays are flat sequences of numbers, such as
`array.array`."""

from __future__ import annotations

import math
from collections import Counter
from operator import mul
from typing import Sequence

from .arithmetic import GARBAGE, MOST_CLASSES, Depths, Pairs, Scores

Values = Sequence[float]
_TINY = 1.1754943508222875e-38
"""The smallest normal float32."""


def vector_cosines(expected: Values, actual: Values, width: int) -> list[float]:
    """See `Arithmetic.vector_cosines`."""
    cosines = []
    for start in range(0, len(expected), width):
        a, b = expected[start : start + width], actual[start : start + width]
        squares = sum(map(mul, a, a)) * sum(map(mul, b, b))
        if not math.isfinite(squares):
            cosines.append(-1.0)
        elif squares > 0:
            cosines.append(max(-1.0, min(1.0, sum(map(mul, a, b)) / math.sqrt(squares))))
        else:
            cosines.append(1.0 if list(a) == list(b) else -1.0)
    return cosines


def joined(parts: Sequence[list[float]]) -> list[float]:
    """See `Arithmetic.joined`."""
    return [value for part in parts for value in part]


def total(values: Values) -> float:
    """See `Arithmetic.total`."""
    return math.fsum(values)


def mean(values: Values) -> float:
    """See `Arithmetic.mean`."""
    return math.fsum(values) / len(values)


def percentile(values: Values, percent: float) -> float:
    """See `Arithmetic.percentile`."""
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def finite(values: Values) -> tuple[int, float, float]:
    """See `Arithmetic.finite`."""
    finite_values = [value for value in values if math.isfinite(value)]
    return len(finite_values), min(finite_values, default=0.0), max(finite_values, default=0.0)


def largest(values: Values) -> float:
    """See `Arithmetic.largest`."""
    return max(max(map(abs, values)), _TINY)


def difference(expected: Values, actual: Values) -> float:
    """See `Arithmetic.difference`."""
    differences = [abs(other - one) for one, other in zip(expected, actual)]
    return max(differences) if all(map(math.isfinite, differences)) else math.inf


def agreement(expected: Values, actual: Values) -> float:
    """See `Arithmetic.agreement`."""
    return sum(one == other for one, other in zip(expected, actual)) / len(expected)


def scores(expected: Values, actual: Values, classes: int) -> Scores:
    """See `Arithmetic.scores`."""
    agreed, margins, shipped = 0, [], []
    for start in range(0, len(expected), classes):
        one, other = expected[start : start + classes], actual[start : start + classes]
        is_finite = all(map(math.isfinite, other))
        best = _best(one)
        agreed += is_finite and _best(other) == best
        margins.append(_margin(one, best))
        shipped.append(_margin(other, best) if is_finite else -GARBAGE)
    return Scores(agreed, math.fsum(margins), math.fsum(shipped), min(shipped))


def labels(expected: Values, actual: Values, classes: int = 0) -> Pairs:
    """See `Arithmetic.labels`."""
    rounded = [_label(value) for value in expected]
    most = classes or max(MOST_CLASSES, max(rounded) + 1)
    return Counter(zip(rounded, (label if label < most else -1 for label in map(_label, actual))))


def logits(expected: Values, actual: Values, classes: int, pixels: int) -> Pairs:
    """See `Arithmetic.logits`."""
    pairs: Pairs = Counter()
    size = classes * pixels
    for start in range(0, len(expected), size):
        chosen = (_choices(values[start : start + size], pixels) for values in (expected, actual))
        pairs.update(zip(*chosen))
    return pairs


def depths(expected: Values, actual: Values) -> Depths:
    """See `Arithmetic.depths`."""
    relative = squared = 0.0
    for one, other in zip(expected, actual):
        size = max(abs(one), _TINY)
        error = abs(other - one)
        error = error if math.isfinite(error) else GARBAGE * size
        relative += min(error / size, GARBAGE)
        squared += error * error
    return Depths(relative, squared, len(expected))


def squared_distance(vector: Values, mean: Values, weights: Values, axes: Values) -> float:
    """See `Arithmetic.squared_distance`."""
    away = [(value - centre) * weight for value, centre, weight in zip(vector, mean, weights)]
    if not all(map(math.isfinite, away)):
        return math.inf
    width = len(away)
    along = [sum(map(mul, axes[start : start + width], away)) for start in range(0, len(axes), width)]
    return math.fsum(map(mul, away, away)) - math.fsum(map(mul, along, along))


def _best(values: Values) -> int:
    return max(range(len(values)), key=values.__getitem__)


def _margin(values: Values, best: int) -> float:
    return values[best] - max((value for index, value in enumerate(values) if index != best), default=0.0)


def _label(value: float) -> int:
    return max(-1, min(round(value), 2**31)) if math.isfinite(value) else -1


def _choices(values: Values, pixels: int) -> list[int]:
    """The best label of each pixel of [classes, pixels]; -1 where a logit is not finite."""
    columns = zip(*(values[start : start + pixels] for start in range(0, len(values), pixels)))
    if math.isfinite(math.fsum(map(abs, values))):
        return [column.index(max(column)) for column in columns]
    return [column.index(max(column)) if all(map(math.isfinite, column)) else -1 for column in columns]
