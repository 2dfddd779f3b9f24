"""How much of the features an engine reproduces: the same figures as edgec's own (edgec/fidelity/metrics.py), without numpy."""

from __future__ import annotations

import math
from operator import mul
from typing import Mapping, Sequence

from edgec_device.bundle import GATES


def cosines(expected: Sequence[float], actual: Sequence[float], width: int) -> list[float]:
    """The cosine of every feature vector of `width` values to its expected one.

    A vector that is not finite, or zero where the expected one is not, has cosine -1: garbage must not average away.
    """
    found = []
    for start in range(0, len(expected), width):
        a, b = expected[start : start + width], actual[start : start + width]
        squares = sum(map(mul, a, a)) * sum(map(mul, b, b))
        if not math.isfinite(squares):
            found.append(-1.0)
        elif squares > 0:
            found.append(max(-1.0, min(1.0, sum(map(mul, a, b)) / math.sqrt(squares))))
        else:
            found.append(1.0 if list(a) == list(b) else -1.0)
    return found


def percentile(values: Sequence[float], percent: float) -> float:
    """Interpolated linearly between the two nearest ranks, as numpy does by default."""
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def figures(cls: Sequence[float], patches: Sequence[float]) -> dict[str, float]:
    return {
        "cls_cosine_mean": round(math.fsum(cls) / len(cls), 6),
        "patch_cosine_mean": round(math.fsum(patches) / len(patches), 6),
        "patch_cosine_p01": round(percentile(patches, 1), 6),
    }


def below_gate(found: Mapping[str, float], gate: Mapping[str, float]) -> list[str]:
    """What is too low, a sentence each."""
    return [f"{name} is {found[name]:.6f}, and must be at least {gate[name]:g}" for name in GATES if found[name] < gate[name]]


def oddities(name: str, values: Sequence[float], expected: Sequence[float]) -> list[str]:
    """What no sound output looks like."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < len(values):
        return [f"{name} holds {len(values) - len(finite)} values that are NaN or infinite, of {len(values)}"]
    if min(finite) == max(finite) and min(expected) != max(expected):
        return [f"{name} is dead: all of its {len(values)} values are {finite[0]:g}"]
    return []
