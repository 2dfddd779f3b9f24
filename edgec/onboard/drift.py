"""How unlike the calibration frames a frame is to the model: a score from its CLS token, which the model computes anyway.

With the arrays of a drift file (`World`), for the CLS token c [D] of one frame:

    d     = (c - mean) * weights                    by channel
    score = sqrt(max(d . d - |axes d|^2, 0))        at most `GARBAGE`, which it also is where d is not finite

all in float64. A frame with a score above `THRESHOLD` alarms. This is the Mahalanobis distance of c from the calibration frames'
CLS tokens, whose covariance is shrunk because there are fewer frames than channels, divided by a threshold
(`edgec.fidelity.drift` fits both). It takes D (K + 3) multiply-adds for K directions.

Patches are not in it: their means and deviations follow who walks through the scene, and by them many more of the later frames of
one scene alarmed (docs/drift.md).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .arithmetic import GARBAGE, Arithmetic

THRESHOLD = 1.0
"""A frame with a higher score alarms."""
DIRECTIONS = 32
"""In which the spread of the calibration frames is known; the others share one variance. 16, 32 and 128 notice the same."""
MEAN, WEIGHTS, AXES, COUNTS = "mean", "weights", "axes", "counts"
"""The arrays of a drift file."""


class World(NamedTuple):
    """What the CLS tokens of calibration frames look like. For the features' width D: `mean` [D]; `weights` [D], which scale what
    is left when the mean is subtracted; and `axes` [`DIRECTIONS`, D]. The arrays are of the arithmetic's own kind."""

    mean: Any
    weights: Any
    axes: Any


def score(world: World, cls: Any, arithmetic: Arithmetic) -> float:
    """The drift score of one frame, from its `cls` [D]: from 0 to `GARBAGE`, which a token that is not finite has."""
    squared = arithmetic.squared_distance(cls, *world)
    if not math.isfinite(squared):
        return GARBAGE
    return min(math.sqrt(max(squared, 0.0)), GARBAGE)
