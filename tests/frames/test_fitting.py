from __future__ import annotations

import numpy as np
import pytest

from edgec.errors import CalibrationError
from edgec.frames import batches, fit
from edgec.model.spec import Size


def stripes(height: int, width: int) -> np.ndarray:
    """Red grows along the width, green along the height."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = np.linspace(0, 255, width)
    picture[..., 1] = np.linspace(0, 255, height)[:, None]
    return picture


@pytest.mark.parametrize("crop", ["centre", "resize", "pad"])
@pytest.mark.parametrize("shape", [(48, 96), (97, 31), (16, 16), (300, 500)])
def test_every_policy_gives_the_size(crop, shape):
    fitted = fit(stripes(*shape), Size(32, 48), crop)
    assert fitted.shape == (32, 48, 3)
    assert fitted.dtype == np.uint8
    assert fitted.flags.writeable


def test_centre_keeps_the_middle_and_the_proportions():
    fitted = fit(stripes(64, 128), Size(32, 32)).astype(int)
    assert fitted[16, 0, 0] == pytest.approx(255 / 4, abs=4)
    assert fitted[16, 31, 0] == pytest.approx(255 * 3 / 4, abs=4)
    assert (fitted[0, 16, 1], fitted[31, 16, 1]) == (pytest.approx(2, abs=4), pytest.approx(253, abs=4))


def test_centre_cuts_alike_on_both_sides():
    odd = stripes(33, 77)
    mirrored = fit(odd[:, ::-1].copy(), Size(32, 32))[:, ::-1]
    assert np.abs(fit(odd, Size(32, 32)).astype(int) - mirrored).max() <= 1


def test_resize_shows_everything():
    fitted = fit(stripes(64, 128), Size(32, 32), "resize").astype(int)
    assert fitted[16, 0, 0] < 8
    assert fitted[16, 31, 0] > 247


def test_pad_shows_everything_between_black_bars():
    fitted = fit(np.full((64, 128, 3), 200, np.uint8), Size(32, 32), "pad")
    assert not fitted[:8].any()
    assert not fitted[24:].any()
    assert (fitted[8:24] == 200).all()


def test_resizing_is_antialiased():
    checks = np.zeros((256, 256, 3), np.uint8)
    checks[::2] = 255
    fitted = fit(checks, Size(32, 32)).astype(int)
    assert np.abs(fitted - 127).max() < 12


def test_batches_follow_the_manifest_and_record_damage(frameset):
    from dataclasses import replace

    made = frameset(("a", 0, 1), ("b", 0, None), ("c", 0, 2))
    first, broken, last = made.frames
    skipped: list[tuple[str, str]] = []
    given = list(batches((replace(first, crop="pad"), broken, last), Size(32, 32), skipped=skipped))
    assert [frame.name for frame, _ in given] == ["a#0", "c#0"]
    assert not given[0][1][:4].any()
    assert given[1][1][:4].any()
    assert skipped == [("b#0", "cut short")]


def test_batches_without_a_record_stop_at_damage(frameset):
    with pytest.raises(CalibrationError, match="b#0"):
        list(batches(frameset(("b", 0, None)).frames, Size(32, 32)))
