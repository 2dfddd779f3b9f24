"""Frames of another size, brought to the model's as `edgec run --crop` does it. It needs Pillow; nothing else here does."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .contract import INPUT
from .errors import Error, ExitCode
from .frame import Pixels

Crop = Literal["centre", "resize", "pad"]


def fit(frame: Pixels, crop: Crop = "centre") -> Pixels:
    """uint8 [H, W, 3] → uint8 [height, width, 3] of the model, by antialiased bicubic resampling. `centre` scales the frame to
    cover the size and cuts equally on both sides, `resize` stretches it, `pad` shows all of it between black bars. One that
    has the size is given back as it is. Raises `Error` if Pillow is not installed."""
    height, width = frame.shape[:2]
    if (height, width) == (INPUT.height, INPUT.width):
        return frame
    try:
        from PIL import Image
    except ImportError as error:
        raise Error(
            ExitCode.FRAMES, f"A frame of {height}x{width} cannot be brought to the model's {INPUT.height}x{INPUT.width}.",
            f"Pillow is missing: {error}", "install pillow, or let the camera give the model's size",
        ) from error  # fmt: skip
    bicubic = Image.Resampling.BICUBIC
    image = Image.fromarray(np.ascontiguousarray(frame))
    if crop == "resize":
        return np.array(image.resize((INPUT.width, INPUT.height), bicubic))
    if crop == "pad":
        scale = min(INPUT.height / height, INPUT.width / width)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        canvas = Image.new("RGB", (INPUT.width, INPUT.height))
        canvas.paste(image.resize(inner, bicubic), ((INPUT.width - inner[0]) // 2, (INPUT.height - inner[1]) // 2))
        return np.array(canvas)
    scale = max(INPUT.height / height, INPUT.width / width)
    seen_width, seen_height = INPUT.width / scale, INPUT.height / scale
    left, top = (width - seen_width) / 2, (height - seen_height) / 2
    # Cut in the same step as resized, because the part need not begin at a whole pixel.
    box = (max(left, 0.0), max(top, 0.0), min(left + seen_width, width), min(top + seen_height, height))
    return np.array(image.resize((INPUT.width, INPUT.height), bicubic, box=box))
