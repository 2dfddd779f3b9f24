"""What befalls a camera: the same picture gives the same one each time, and each ill is what its name says."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.frames.ills import ALIKE, ILLS
from edgec.frames.types import Pixels
from tests.support.frames import pictures
from tests.support.models import SMALL


@pytest.fixture(scope="module")
def picture() -> Pixels:
    return next(iter(pictures(SMALL, 1)))


@pytest.mark.parametrize("name", ILLS)
def test_a_frame_of_the_same_form_and_another_content(name: str, picture: Pixels) -> None:
    before = picture.copy()
    made = ILLS[name](picture)
    assert (made.shape, made.dtype) == (picture.shape, np.uint8)
    assert not np.array_equal(made, picture)
    np.testing.assert_array_equal(picture, before)
    np.testing.assert_array_equal(ILLS[name](picture), made)


def test_each_is_what_it_is_called(picture: Pixels) -> None:
    made = {name: ill(picture).astype(float) for name, ill in ILLS.items()}
    plain = picture.astype(float)

    def roughness(pixels: np.ndarray) -> float:  # type: ignore[type-arg]
        return float(np.abs(np.diff(pixels, axis=1)).mean())

    assert made["dark"].mean() == pytest.approx(plain.mean() / 4, rel=0.02)
    assert made["bright"].mean() > 1.3 * plain.mean()
    assert roughness(made["blurred"]) < roughness(plain) < roughness(made["noisy"])
    assert np.ptp(made["grey"], axis=2).max() == 0
    red, green, blue = made["colour cast"].reshape(-1, 3).mean(axis=0) / plain.reshape(-1, 3).mean(axis=0)
    assert red > green > blue
    assert {name for name in made if np.ptp(made[name]) == 0} == ALIKE


def test_noise_is_another_one_on_another_picture(picture: Pixels) -> None:
    other = np.flip(picture, axis=0).copy()
    added = ILLS["noisy"](picture).astype(int) - picture
    assert not np.array_equal(ILLS["noisy"](other).astype(int) - other, added)
