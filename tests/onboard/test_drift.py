"""The drift score with and without numpy, and against a Mahalanobis distance that is computed the long way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgec.onboard import plain, vectorised
from edgec.onboard.arithmetic import GARBAGE
from edgec.onboard.drift import DIRECTIONS, PARTS, World, score

WIDTH = 5


def flat(array: NDArray[Any]) -> list[float]:
    return [float(value) for value in array.ravel()]


def features(seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    return random.normal(2, 1, WIDTH).astype(np.float32), random.normal(-1, 3, (3, 4, WIDTH)).astype(np.float32)


def world() -> World:
    random = np.random.default_rng(9)
    size = PARTS * WIDTH
    directions = np.linalg.qr(random.normal(size=(size, size)))[0]
    axes = np.zeros((DIRECTIONS, size), np.float32)
    axes[:size] = directions * random.uniform(0, 1, size)[:, None]
    return World(random.normal(size=size).astype(np.float32), random.uniform(0.1, 2, size).astype(np.float32), axes)


def both(cls: NDArray[np.float32], patches: NDArray[np.float32]) -> tuple[float, float]:
    arrays = world()
    flat_world = World(*map(flat, arrays))
    return score(arrays, cls, patches, WIDTH, vectorised), score(flat_world, flat(cls), flat(patches), WIDTH, plain)


@pytest.mark.parametrize("seed", range(3))
def test_the_distance_is_that_of_the_whole_covariance(seed: int) -> None:
    cls, patches = features(seed)
    vectors = patches.reshape(-1, WIDTH).astype(np.float64)
    away = (np.concatenate([cls, vectors.mean(axis=0), vectors.std(axis=0)]) - world().mean) * world().weights
    axes = world().axes.astype(np.float64)
    expected = np.sqrt(away @ (np.eye(len(away)) - axes.T @ axes) @ away)
    assert both(cls, patches) == (pytest.approx(expected, rel=1e-6), pytest.approx(expected, rel=1e-6))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_alarm(value: float) -> None:
    for index in range(2):
        spoilt = features(0)
        spoilt[index].flat[1] = value
        assert both(*spoilt) == (GARBAGE, GARBAGE)


def test_a_score_stays_within_what_json_can_hold() -> None:
    cls, patches = features(0)
    assert both(cls * np.float32(1e30), patches) == (GARBAGE, GARBAGE)
