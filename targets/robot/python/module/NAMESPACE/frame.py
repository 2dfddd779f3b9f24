"""Frames as cameras give them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import Error, ExitCode

Pixels = NDArray[np.uint8]


def view(buffer: Any, height: int, width: int, *, stride: int = 0, bgr: bool = False) -> Pixels:
    """uint8 [height, width, 3] of a camera's bytes, without a copy: anything with Python's buffer interface. `stride` is the
    number of bytes from the beginning of one row to that of the next, if it is more than 3 * width; the last row may come
    without its padding. `bgr` says that the bytes are blue, green, red. Raises `Error` if the buffer is too short."""
    step = stride or 3 * width
    data = np.frombuffer(buffer, np.uint8)
    needed = step * (height - 1) + 3 * width
    if min(height, width) < 1 or step < 3 * width or data.size < needed:
        raise Error(
            ExitCode.FRAMES, "A buffer does not hold a frame of its size.",
            f"{height}x{width} (height x width) with {step} bytes a row takes {needed} bytes, and it has {data.size}",
            "say the size and the stride that the camera's driver states",
        )  # fmt: skip
    pixels: Pixels = np.ndarray((height, width, 3), np.uint8, data, strides=(step, 3, 1))
    return pixels[..., ::-1] if bgr else pixels
