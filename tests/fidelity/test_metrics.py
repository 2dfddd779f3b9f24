"""Cosines and their summary, against numpy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edgec.fidelity.metrics import Fidelity, compare, worst
from edgec.onboard.vectorised import cosines
from edgec.records.evidence import Evidence
from edgec.records.fidelity import StageFidelity

RANDOM = np.random.default_rng(0)


def vectors(*rows: list[float]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32)


def test_cosines_of_known_angles() -> None:
    expected = vectors([1, 0], [1, 0], [1, 0], [1, 0], [3, 4])
    actual = vectors([2, 0], [0, 5], [-1, 0], [1, 1], [4, 3])
    np.testing.assert_allclose(cosines(expected, actual), [1, 0, -1, math.sqrt(0.5), 24 / 25], atol=1e-12)


def test_length_does_not_count_and_shape_is_kept() -> None:
    features = RANDOM.standard_normal((2, 3, 4, 16)).astype(np.float32)
    actual = cosines(features, features * 7)
    assert actual.shape == (2, 3, 4)
    assert actual.dtype == np.float64
    np.testing.assert_allclose(actual, 1, atol=1e-12)


def test_is_what_numpy_says() -> None:
    a, b = RANDOM.standard_normal((2, 50, 33)).astype(np.float32)
    expected = [
        np.dot(x, y) / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a.astype(float), b.astype(float), strict=True)
    ]
    np.testing.assert_allclose(cosines(a, b), expected, atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf], ids=str)
def test_one_value_that_is_not_finite_makes_the_worst_cosine(bad: float) -> None:
    expected = RANDOM.standard_normal((3, 8)).astype(np.float32)
    actual = expected.copy()
    actual[1, 5] = bad
    np.testing.assert_allclose(cosines(expected, actual), [1, -1, 1], atol=1e-12)
    np.testing.assert_allclose(cosines(actual, expected), [1, -1, 1], atol=1e-12)
    assert cosines(actual, actual)[1] == -1


def test_a_vector_of_zeros_is_right_only_where_zeros_are_expected() -> None:
    zeros, ones = vectors([0, 0, 0]), vectors([1, 1, 1])
    assert cosines(ones, zeros) == -1
    assert cosines(zeros, ones) == -1
    assert cosines(zeros, zeros) == 1


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e20, 3e38], ids=str)
def test_extreme_lengths_neither_overflow_nor_vanish(scale: float) -> None:
    expected = np.array([[0.3, -0.5, 0.8]])
    features = (expected * scale).astype(np.float32)
    np.testing.assert_allclose(cosines(features, features), 1, atol=1e-6)
    np.testing.assert_allclose(cosines(features, -features), -1, atol=1e-6)


def test_cosines_stay_within_one() -> None:
    features = RANDOM.standard_normal((1000, 7)).astype(np.float32)
    assert cosines(features, features).max() <= 1.0


def features_of(frames: int, noise: float) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    expected = {
        "cls": RANDOM.standard_normal((frames, 12)).astype(np.float32),
        "patches": RANDOM.standard_normal((frames, 5, 7, 12)).astype(np.float32),
    }
    return expected, {
        name: (value + noise * RANDOM.standard_normal(value.shape)).astype(np.float32) for name, value in expected.items()
    }


def test_the_summary_is_numpy_s_over_all_patches_of_all_frames() -> None:
    expected, actual = features_of(9, 0.3)
    patches = cosines(expected["patches"], actual["patches"]).ravel()
    assert len(patches) == 9 * 5 * 7
    found = compare(expected, actual, "a stage", Evidence.HOST)
    assert found.stage == "a stage"
    assert found.frames == 9
    assert found.evidence is Evidence.HOST
    assert found.cls_cosine_mean == pytest.approx(cosines(expected["cls"], actual["cls"]).mean(), abs=5e-7)
    assert found.patch_cosine_mean == pytest.approx(patches.mean(), abs=5e-7)
    assert found.patch_cosine_p01 == pytest.approx(np.percentile(patches, 1), abs=5e-7)
    assert found.patch_cosine_p01 < found.patch_cosine_mean


def test_batches_give_the_same_as_everything_at_once() -> None:
    expected, actual = features_of(7, 0.2)
    fidelity = Fidelity()
    for part in (slice(0, 3), slice(3, 6), slice(6, 7)):
        fidelity.add(
            {name: value[part] for name, value in expected.items()}, {name: value[part] for name, value in actual.items()}
        )
    assert fidelity.summary("x", Evidence.HOST) == compare(expected, actual, "x", Evidence.HOST)


def test_one_bad_corner_shows_in_the_percentile_and_not_in_the_mean() -> None:
    """Two patches in a hundred are wrong: that is what makes a robot hit a chair."""
    expected = {"cls": np.ones((1, 4), np.float32), "patches": RANDOM.standard_normal((1, 10, 20, 4)).astype(np.float32)}
    actual = {name: value.copy() for name, value in expected.items()}
    actual["patches"][0, 0, :4] *= -1
    found = compare(expected, actual, "x", Evidence.HOST)
    assert found.patch_cosine_mean == pytest.approx(1 - 2 * 4 / 200)
    assert found.patch_cosine_p01 == -1
    assert worst(found) == -1


def test_garbage_does_not_average_away() -> None:
    expected, actual = features_of(2, 0)
    actual["patches"][0, :, :3] = np.nan
    actual["cls"][1] = np.inf
    found = compare(expected, actual, "x", Evidence.HOST)
    assert found.cls_cosine_mean == pytest.approx(0)
    assert found.patch_cosine_p01 == -1


@pytest.mark.parametrize(("figures", "smallest"), [((0.9, 0.8, 0.7), 0.7), ((0.6, 0.8, 0.7), 0.6), ((0.9, 0.5, 0.7), 0.5)])
def test_the_budget_bounds_the_smallest_of_three(figures: tuple[float, float, float], smallest: float) -> None:
    cls, mean, percentile = figures
    fidelity = StageFidelity(
        stage="x", cls_cosine_mean=cls, patch_cosine_mean=mean, patch_cosine_p01=percentile, frames=1, evidence=Evidence.HOST
    )
    assert worst(fidelity) == smallest
