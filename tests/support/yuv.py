"""Frames in YUV, and the colours that they stand for, by the equations of ITU-R BT.601 and BT.709."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


def planes_of(layout: str, height: int, width: int) -> tuple[Bytes, tuple[Bytes, Bytes, Bytes]]:
    """Rows of a frame of random colours in the layout, and its Y, U and V, each [H, W]."""
    draw = np.random.default_rng(7)
    tall, wide = {"nv12": (2, 2), "nv21": (2, 2), "nv24": (1, 1)}.get(layout, (1, 2))
    y = draw.integers(16, 236, (height, width), dtype=np.uint8)
    u, v = draw.integers(40, 216, (2, height // tall, width // wide), dtype=np.uint8)
    planes = (y, u.repeat(tall, 0).repeat(wide, 1), v.repeat(tall, 0).repeat(wide, 1))
    if layout.startswith("nv"):
        pairs = np.stack((v, u) if layout == "nv21" else (u, v), -1)
        return np.concatenate([y, pairs.reshape(-1, width)]), planes
    pairs = np.stack((u, v), -1).reshape(height, width)
    return np.stack((pairs, y) if layout == "uyvy" else (y, pairs), -1).reshape(height, 2 * width), planes


def rgb_of(y: Bytes, u: Bytes, v: Bytes, matrix: str, span: str) -> NDArray[Any]:
    """Red, green and blue from 0 to 255, rounded, [H, W, 3]."""
    red, blue = _WEIGHTS[matrix]
    green = 1 - red - blue
    luma, first, second = (plane.astype(float) for plane in (y, u, v))
    if span == "limited":
        luma, first, second = (luma - 16) * 255 / 219, (first - 128) * 255 / 224, (second - 128) * 255 / 224
    else:
        first, second = first - 128, second - 128
    r, b = luma + 2 * (1 - red) * second, luma + 2 * (1 - blue) * first
    g = (luma - red * r - blue * b) / green
    return np.clip(np.rint(np.stack((r, g, b), -1)), 0, 255).astype(int)
