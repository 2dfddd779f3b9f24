"""A score that is fitted to frames tells others from them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgec.fidelity.drift import fit
from edgec.onboard import vectorised
from edgec.onboard.drift import DIRECTIONS, THRESHOLD

Floats = NDArray[np.float64]
FEATURES = 48


def frames(count: int, seed: int, shift: float = 0.0) -> list[Floats]:
    """Tokens that vary much in four directions and little in all others. A shift is in a direction of the latter."""
    mixing = np.random.default_rng(0).normal(size=(4, FEATURES))
    random = np.random.default_rng(seed)
    moved = np.zeros(FEATURES)
    moved[3] = shift
    return list(3 + random.normal(size=(count, 4)) @ mixing + 0.1 * random.normal(size=(count, FEATURES)) + moved)


def scores(fitted_world: object, rows: list[Floats]) -> Floats:
    return np.array([np.sqrt(vectorised.squared_distance(row, *fitted_world)) for row in rows])  # type: ignore[misc]


def test_frames_alike_are_quiet_and_others_alarm() -> None:
    fitted = fit(frames(100, 1), frames(100, 2))
    assert (fitted.fitted_on, fitted.judged_on) == (100, 100)
    assert (scores(fitted.world, frames(400, 3)) > THRESHOLD).mean() < 0.01
    assert (scores(fitted.world, frames(50, 4, shift=12)) > THRESHOLD).all()


@pytest.mark.parametrize(("calibration", "validation"), [(6, 2), (3, 1), (DIRECTIONS + 1, 5)])
def test_few_frames_are_enough_for_a_threshold(calibration: int, validation: int) -> None:
    fitted = fit(frames(calibration, 1), frames(validation, 2))
    arrays = fitted.arrays()
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert arrays["axes"].shape == (DIRECTIONS, FEATURES)
    assert (scores(fitted.world, frames(validation, 2)) < THRESHOLD).all()


def test_frames_that_are_all_the_same() -> None:
    one = frames(1, 1)
    fitted = fit(one * 6, one * 2)
    assert all(np.isfinite(array).all() for array in fitted.arrays().values())
    assert scores(fitted.world, one)[0] <= THRESHOLD
    assert scores(fitted.world, frames(1, 2))[0] > THRESHOLD


def test_the_same_frames_give_the_same_arrays() -> None:
    first, second = (fit(frames(40, 1), frames(9, 2)).arrays() for _ in range(2))
    assert all((first[name] == second[name]).all() for name in first)


def test_calibration_frames_that_change_in_time_widen_the_threshold() -> None:
    """The validation frames are of one time only; the calibration frames show how much the scene changes in others."""
    steady = frames(40, 1)
    changing = [row for block in range(4) for row in frames(10, block, shift=block / 2)]
    later = frames(20, 8, shift=5)
    narrow, wide = (np.median(scores(fit(rows, frames(9, 9)).world, later)) for rows in (steady, changing))
    assert wide < narrow


def test_a_channel_that_is_always_the_same_does_not_decide_alone() -> None:
    """Rounding to int8 moves it a little."""
    constant = [np.where(np.arange(FEATURES) == 5, 1.0, row) for row in frames(100, 1)]
    fitted = fit(constant, constant[:9])
    moved = [np.where(np.arange(FEATURES) == 5, 1.001, row) for row in constant]
    assert scores(fitted.world, moved).max() < THRESHOLD
