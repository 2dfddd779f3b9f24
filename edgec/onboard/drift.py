"""How unlike the calibration frames a frame is to the model: a score from CLS and patches, which it computes anyway.

A frame is described by its CLS token and by the mean and the standard deviation of each channel over its patches. The score is
the Mahalanobis distance of that description from those of the calibration frames, whose covariance is shrunk because there are
fewer frames than channels (`edgec.fidelity.drift` fits it). It is divided by its threshold, so that a frame above 1 alarms.

For width D, P patches and K directions this takes about 4 P D + 6 K D operations.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .arithmetic import GARBAGE, Arithmetic

THRESHOLD = 1.0
"""A frame with a higher score alarms."""
PARTS = 3
"""CLS, the patches' means and their standard deviations: a description has this many values for each channel."""
DIRECTIONS = 32
"""In which the spread of the calibration frames is known; the others share one variance."""
MEAN, WEIGHTS, AXES, COUNTS = "mean", "weights", "axes", "counts"
"""The arrays of a drift file."""


class World(NamedTuple):
    """What calibration frames look like. For F = `PARTS` times the features' width: `mean` [F]; `weights` [F], which scale what
    is left when the mean is subtracted; and `axes` [`DIRECTIONS`, F]. The arrays are of the arithmetic's own kind."""

    mean: Any
    weights: Any
    axes: Any


def description(cls: Any, patches: Any, width: int, arithmetic: Arithmetic) -> Any:
    """One frame's CLS and its patches in `PARTS` times `width` values."""
    return arithmetic.joined([cls, *arithmetic.moments(patches, width)])


def score(world: World, cls: Any, patches: Any, width: int, arithmetic: Arithmetic) -> float:
    """The drift score of one frame, from its `cls` [width] and `patches` [..., width]. At least 0 and at most `GARBAGE`, which
    features that are not finite have."""
    squared = arithmetic.squared_distance(description(cls, patches, width, arithmetic), *world)
    if not math.isfinite(squared):
        return GARBAGE
    return min(math.sqrt(max(squared, 0.0)), GARBAGE)
