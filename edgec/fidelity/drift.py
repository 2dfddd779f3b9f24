"""Fits the drift score (`edgec.onboard.drift`) to the CLS tokens of frames. numpy only.

The covariance is estimated as S + s I, S being that of the calibration frames in the `DIRECTIONS` directions in which they vary
most, and s a share of its mean variance: shrinkage, as in Ledoit and Wolf, "A well-conditioned estimator for large-dimensional
covariance matrices" (2004).

The constants were chosen on 795 frames of one street camera, calibrated on a part and scored on the rest in 11 ways, with
features of a ViT-S/16 and of a ViT-T/16; docs/drift.md has the figures. Another scene may need others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgec.onboard import vectorised
from edgec.onboard.drift import AXES, COUNTS, DIRECTIONS, MEAN, WEIGHTS, World

Floats = NDArray[np.float64]

SHRINKAGE = 0.1
"""The variance that every direction has beside its own, as a share of the mean one of the directions in which frames vary. From
0.03 to 0.3 a score notices the same; of 1 and more, and without directions, it overlooks weak faults."""
BLOCKS = 4
"""Of calibration frames, in time, each of which is scored by a fit to the others. Where the validation frames alone set the
threshold, ten times (ViT-T/16) and 1.4 times (ViT-S/16) as many later frames exceeded it."""
MARGIN = 2.0
"""The threshold, as a multiple of the largest score of a frame that the fit had not seen. Of 1, people who came near the camera
for the first time made 13 % of later frames alarm (ViT-S/16; 0.6 % with ViT-T/16); of 2, 0.4 %."""
FLOOR = 0.01
"""The least variance of a channel, as a share of the channels' mean one: one that hardly varies must not decide alone."""
TINY = 1e-4
"""The least spread of a channel, as a share of the size of all: where frames are all the same, rounding must not alarm."""


class Fitted(NamedTuple):
    """A score, the number of calibration frames that it was fitted to, and that of validation frames."""

    world: World
    fitted_on: int
    judged_on: int

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of the drift file, by name."""
        world = {MEAN: self.world.mean, WEIGHTS: self.world.weights, AXES: self.world.axes}
        counts = np.array([self.fitted_on, self.judged_on], np.int32)
        return {**{name: np.asarray(array, np.float32) for name, array in world.items()}, COUNTS: counts}


def fit(calibration: Sequence[NDArray[Any]], validation: Sequence[NDArray[Any]]) -> Fitted:
    """A score that is small for the calibration frames, with a threshold that at most one in a hundred frames like them exceeds.
    Both are CLS tokens [D], in time, of at least two and one frames.

    The threshold is `MARGIN` times the largest score of a frame that the fit had not seen. These are the validation frames and,
    because they are few and of one time, the calibration frames too, in blocks: each by a fit to the other blocks.
    """
    rows = np.stack(calibration).astype(np.float64)
    world = _world(rows)
    unseen = [_scores(world, np.stack(validation)), *_crossed(rows)]
    # One standard deviation in one direction is never far, not even where the frames hardly vary.
    threshold = max(1.0, MARGIN * max(float(each.max()) for each in unseen))
    return Fitted(world._replace(weights=world.weights / threshold), len(rows), len(validation))


def _world(rows: Floats) -> World:
    """Fitted to CLS tokens [N, D], without a threshold."""
    mean = rows.mean(axis=0)
    away = rows - mean
    variances = np.square(away).mean(axis=0)
    least = FLOOR * variances.mean() + (TINY**2) * max(float(np.square(rows).mean()), TINY)
    weights = 1 / np.sqrt((variances + least) * len(mean))
    _, lengths, directions = np.linalg.svd(away * weights, full_matrices=False)
    spread = lengths**2 / (len(rows) - 1)
    shared = SHRINKAGE * max(float(spread.sum()), 1.0) / (len(rows) - 1)
    axes = np.zeros((DIRECTIONS, len(mean)))
    known = min(DIRECTIONS, len(directions), len(rows) - 1)
    axes[:known] = directions[:known] * np.sqrt(spread[:known] / (spread[:known] + shared))[:, None]
    # A direction has no sign: the same bytes whichever the library returns.
    axes *= np.where(axes[np.arange(DIRECTIONS), np.abs(axes).argmax(axis=1)] < 0, -1, 1)[:, None]
    return World(mean, weights / math.sqrt(shared), axes)


def _crossed(rows: Floats) -> list[Floats]:
    """The scores of the frames of each block by a fit to the other blocks; none if there are too few frames to leave one out."""
    blocks = [block for block in np.array_split(np.arange(len(rows)), BLOCKS) if 0 < len(block) <= len(rows) - 2]
    return [_scores(_world(np.delete(rows, block, axis=0)), rows[block]) for block in blocks]


def _scores(world: World, frames: NDArray[Any]) -> Floats:
    squared = [vectorised.squared_distance(frame, *world) for frame in frames]
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)), np.float64)
