"""Fits the drift score (`edgec.onboard.drift`) to frames. numpy only.

The covariance of descriptions is estimated as S + s I, S being that of the calibration frames in the `DIRECTIONS` directions in
which they vary most, and s a share of its mean variance: shrinkage, as in Ledoit and Wolf, "A well-conditioned estimator for
large-dimensional covariance matrices" (2004). The share and the number of directions have not been tuned on data yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgec.onboard import vectorised
from edgec.onboard.drift import AXES, COUNTS, DIRECTIONS, MEAN, PARTS, WEIGHTS, World, description

Floats = NDArray[np.float64]

SHRINKAGE = 0.3
"""The variance that every direction has beside its own, as a share of the mean one of the directions in which frames vary."""
DEVIATIONS = 2.33
"""Of a normal distribution, one value in a hundred is further above its mean."""
TINY = 1e-4
"""The least spread of a part, as a share of the size of all values: where frames are all the same, rounding must not alarm."""


class Fitted(NamedTuple):
    """A score and what it was fitted to: the number of calibration frames, that of validation frames, and how many of these are
    beyond the threshold."""

    world: World
    fitted_on: int
    judged_on: int
    beyond: int

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of the drift file, by name."""
        world = {MEAN: self.world.mean, WEIGHTS: self.world.weights, AXES: self.world.axes}
        counts = np.array([self.fitted_on, self.judged_on, self.beyond], np.int32)
        return {**{name: np.asarray(array, np.float32) for name, array in world.items()}, COUNTS: counts}


def describe(cls: NDArray[Any], patches: NDArray[Any]) -> Floats:
    """`edgec.onboard.drift.description` of one frame: `cls` [D] and `patches` [rows, columns, D]."""
    values: Floats = np.asarray(description(cls, patches, len(cls), vectorised), np.float64)
    return values


def fit(calibration: Sequence[Floats], validation: Sequence[Floats]) -> Fitted:
    """A score that is small for the calibration frames, with a threshold that at most one in a hundred frames like the validation
    frames exceeds. Both are descriptions [F], of at least two and one frames.

    The threshold is the largest score of a validation frame or, if that is more, the point that one in a hundred exceeds if the
    logarithms of their scores have a normal distribution: of few frames, the largest is often too small.
    """
    rows = np.stack(calibration)
    mean = rows.mean(axis=0)
    away = rows - mean
    weights = np.concatenate([np.full(part.shape[1], 1 / _size(part, rows)) for part in np.split(away, PARTS, axis=1)])
    _, lengths, directions = np.linalg.svd(away * weights, full_matrices=False)
    variances = lengths**2 / (len(rows) - 1)
    shared = SHRINKAGE * max(variances.sum(), 1.0) / (len(rows) - 1)
    axes = np.zeros((DIRECTIONS, rows.shape[1]))
    known = min(DIRECTIONS, len(rows) - 1)
    axes[:known] = directions[:known] * np.sqrt(variances[:known] / (variances[:known] + shared))[:, None]
    # A direction has no sign: the same bytes whichever the library returns.
    axes *= np.where(axes[np.arange(DIRECTIONS), np.abs(axes).argmax(axis=1)] < 0, -1, 1)[:, None]
    world = World(mean, weights / np.sqrt(shared), axes)
    scores = _scores(world, validation)
    logarithms = np.log(np.maximum(scores, 1e-12))
    spread = float(logarithms.std(ddof=1)) if len(scores) > 1 else 0.0
    # One standard deviation in one direction is never far, not even where the frames hardly vary.
    threshold = max(1.0, float(scores.max()), float(np.exp(logarithms.mean() + DEVIATIONS * spread)))
    world = world._replace(weights=world.weights / threshold)
    return Fitted(world, len(rows), len(scores), int((_scores(world, validation) > 1 + 1e-9).sum()))


def _size(part: Floats, rows: Floats) -> float:
    """The mean distance of a part from its mean over all frames, but not nearly nothing."""
    return max(
        float(np.sqrt(np.square(part).sum(axis=1).mean())), TINY * max(float(np.sqrt(np.square(rows).sum(axis=1).mean())), TINY)
    )


def _scores(world: World, frames: Sequence[Floats]) -> Floats:
    squared = [vectorised.squared_distance(frame, *world) for frame in frames]
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)), np.float64)
