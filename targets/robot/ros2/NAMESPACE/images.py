"""`sensor_msgs/Image` → RGB frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import Error, ExitCode
from .frame import Pixels

_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
_YUV = {"yuv422": (0, 1, 2, 3), "uyvy": (0, 1, 2, 3), "yuv422_yuy2": (1, 0, 3, 2), "yuyv": (1, 0, 3, 2)}
"""Where U, the first Y, V and the second Y are in the four bytes of two pixels."""
ENCODINGS = (*_CHANNELS, *_YUV)


def to_rgb(message: Any) -> Pixels:
    """uint8 [height, width, 3] of an image. Pixels in RGB and BGR are a view of the message's own bytes; mono8 is repeated; YUV
    is BT.601 in the limited range, as drivers give it and `cv_bridge` takes it. Raises `Error` for another encoding, with its
    name, and for a message whose bytes are not those of such an image."""
    encoding, height, width, step = str(message.encoding), int(message.height), int(message.width), int(message.step)
    used = 2 * width if encoding in _YUV else _CHANNELS.get(encoding, 0) * width
    if not used:
        raise Error(
            ExitCode.FRAMES, f"Images in the encoding {encoding[:40]!r} cannot be used.", f"of {height}x{width}",
            f"let the camera's driver, or image_proc, publish one of {', '.join(ENCODINGS)}",
        )  # fmt: skip
    data = np.frombuffer(message.data, np.uint8)
    # The last row may come without its padding.
    if min(height, width) < 1 or step < used or data.size < step * (height - 1) + used or (encoding in _YUV and width % 2):
        raise Error(
            ExitCode.FRAMES, "An image's bytes are not those of its size.",
            f"{height}x{width} in {encoding}, {step} bytes a row, {data.size} bytes", "look at the camera's driver",
        )  # fmt: skip
    rows = np.ndarray((height, used), np.uint8, data, strides=(step, 1))
    if encoding in _YUV:
        return _from_yuv(rows.reshape(height, width // 2, 4)[..., list(_YUV[encoding])])
    if encoding == "mono8":
        return np.broadcast_to(rows[..., None], (height, width, 3))
    pixels: Pixels = np.ndarray((height, width, _CHANNELS[encoding]), np.uint8, data, strides=(step, _CHANNELS[encoding], 1))
    return pixels[..., :3] if encoding.startswith("rgb") else pixels[..., 2::-1]


def _from_yuv(pairs: Pixels) -> Pixels:
    """From [height, pairs, (U, Y, V, Y)], in whole numbers of 1/65536."""
    u, v = pairs[..., 0].astype(np.int32) - 128, pairs[..., 2].astype(np.int32) - 128
    half = 1 << 15
    shifts: list[NDArray[np.int32]] = [104597 * v + half, -25675 * u - 53279 * v + half, 132201 * u + half]
    luma = 76309 * (pairs[..., 1::2].astype(np.int32) - 16)
    pixels = np.empty((*luma.shape, 3), np.uint8)
    for channel, shift in enumerate(shifts):
        pixels[..., channel] = np.clip((luma + shift[..., None]) >> 16, 0, 255)
    return pixels.reshape(pairs.shape[0], -1, 3)
