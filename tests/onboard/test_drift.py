"""The drift score with and without numpy, and against a Mahalanobis distance that is computed the long way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgec.onboard import plain, vectorised
from edgec.onboard.arithmetic import GARBAGE
from edgec.onboard.drift import DIRECTIONS, World, score

WIDTH = 5


def flat(array: NDArray[Any]) -> list[float]:
    return [float(value) for value in array.ravel()]


def token(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(2, 1, WIDTH).astype(np.float32)


def world() -> World:
    random = np.random.default_rng(9)
    directions = np.linalg.qr(random.normal(size=(WIDTH, WIDTH)))[0]
    axes = np.zeros((DIRECTIONS, WIDTH), np.float32)
    axes[:WIDTH] = directions * random.uniform(0, 1, WIDTH)[:, None]
    return World(random.normal(size=WIDTH).astype(np.float32), random.uniform(0.1, 2, WIDTH).astype(np.float32), axes)


def both(cls: NDArray[np.float32]) -> tuple[float, float]:
    arrays = world()
    flat_world = World(*map(flat, arrays))
    return score(arrays, cls, vectorised), score(flat_world, flat(cls), plain)


@pytest.mark.parametrize("seed", range(3))
def test_the_distance_is_that_of_the_whole_covariance(seed: int) -> None:
    cls = token(seed)
    away = (cls.astype(np.float64) - world().mean) * world().weights
    axes = world().axes.astype(np.float64)
    expected = np.sqrt(away @ (np.eye(len(away)) - axes.T @ axes) @ away)
    assert list(both(cls)) == pytest.approx([expected, expected], rel=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_token_that_is_not_finite_alarms(value: float) -> None:
    spoilt = token(0)
    spoilt[1] = value
    assert both(spoilt) == (GARBAGE, GARBAGE)


def test_a_score_stays_within_what_json_can_hold() -> None:
    assert both(token(0) * np.float32(1e30)) == (GARBAGE, GARBAGE)
