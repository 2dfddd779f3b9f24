"""What the linter knows of a frame: a few hundred bytes, so that a set of any length can be looked at in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgec.frames.types import Pixels

HUES = 12
HASH_BITS = 256

_HASH_SIDE = 16
_THUMBNAIL = (96, 96)
_MIN_SATURATION, _MIN_VALUE = 51, 51
"""Of 255; below these a pixel has no hue to speak of."""
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Look:
    """One frame: its size, its light in luma of 0 to 255, its hues as shares of its pixels, and its perceptual hash."""

    height: int
    width: int
    brightness: float
    contrast: float
    """Standard deviation of the luma."""
    burnt: float
    """Share of pixels at the upper end of the range."""
    hues: NDArray[np.float32]
    """[12]: the share of the pixels in each twelfth of the colour circle; what is missing to 1 is grey."""
    hash: NDArray[np.bool_]
    """[256]: dHash, whether luma rises from each cell of a 16 x 17 grid to the next in its row. Little changes by compression,
    scale or exposure; of unrelated photographs about half the bits differ."""


def look(pixels: Pixels) -> Look:
    image = Image.fromarray(pixels)
    # Averaging over boxes keeps large frames cheap and the camera's noise out of the figures.
    small = image.resize(_THUMBNAIL, Image.Resampling.BOX)
    luma = np.asarray(small.convert("L"), np.float32)
    hue, saturation, value = np.moveaxis(np.asarray(small.convert("HSV")), 2, 0)
    coloured = hue[(saturation >= _MIN_SATURATION) & (value >= _MIN_VALUE)]
    counts = np.bincount(coloured.astype(np.int64) * HUES // 256, minlength=HUES)
    grid = np.asarray(image.convert("L").resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX), np.float32)
    return Look(
        height=pixels.shape[0],
        width=pixels.shape[1],
        brightness=float(luma.mean()),
        contrast=float(luma.std()),
        burnt=float((luma >= 250).mean()),
        hues=(counts / luma.size).astype(np.float32),
        hash=(grid[:, 1:] > grid[:, :-1]).ravel(),
    )


def near(hashes: Sequence[NDArray[np.bool_]], others: Sequence[NDArray[np.bool_]], bits: int) -> Iterator[tuple[int, int]]:
    """Pairs (place in `hashes`, place in `others`) that differ in at most `bits` of 256."""
    if not hashes or not others:
        return
    # Bits as signs make the Hamming distance a matrix product; chunks of rows keep it within memory.
    right = np.stack(others).astype(np.float32) * 2 - 1
    for start in range(0, len(hashes), _ROWS_AT_ONCE):
        left = np.stack(hashes[start : start + _ROWS_AT_ONCE]).astype(np.float32) * 2 - 1
        for row, column in np.argwhere((HASH_BITS - left @ right.T) / 2 <= bits):
            yield start + int(row), int(column)
