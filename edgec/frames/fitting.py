"""Frames → the model's size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from edgec.errors import CalibrationError
from edgec.extras import later
from edgec.frames.types import Crop, Frame, Pixels, Skipped
from edgec.model.spec import Size

if TYPE_CHECKING:
    from PIL import Image
else:
    Image = later("PIL.Image")


def fit(pixels: Pixels, size: Size, crop: Crop = "centre") -> Pixels:
    """uint8 [H, W, 3] → uint8 [size.height, size.width, 3], resized with Pillow's antialiased bicubic filter.

    `centre` scales the frame to cover the size and crops it, equally on both sides. `resize` stretches. `pad` shows the whole
    frame between black bars.
    """
    height, width = pixels.shape[:2]
    if (height, width) == (size.height, size.width):
        return pixels
    image = Image.fromarray(pixels)
    if crop == "resize":
        return np.array(image.resize((size.width, size.height), Image.Resampling.BICUBIC))
    if crop == "pad":
        scale = min(size.height / height, size.width / width)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        canvas = Image.new("RGB", (size.width, size.height))
        corner = ((size.width - inner[0]) // 2, (size.height - inner[1]) // 2)
        canvas.paste(image.resize(inner, Image.Resampling.BICUBIC), corner)
        return np.array(canvas)
    scale = max(size.height / height, size.width / width)
    seen_width, seen_height = size.width / scale, size.height / scale
    left, top = (width - seen_width) / 2, (height - seen_height) / 2
    # Cropped in the same step as resized: the centre stays exact where the crop does not begin at a whole pixel.
    box = (max(left, 0.0), max(top, 0.0), min(left + seen_width, width), min(top + seen_height, height))
    return np.array(image.resize((size.width, size.height), Image.Resampling.BICUBIC, box=box))


def batches(
    frames: Iterable[Frame], size: Size, crop: Crop = "centre", *, skipped: list[Skipped] | None = None
) -> Iterator[tuple[Frame, Pixels]]:
    """The frames one by one at the model's size, each uint8 [size.height, size.width, 3]; memory holds one at a time.

    A frame's own `crop` wins over the argument. Damaged frames are left out and appended to `skipped` with the reason; without
    `skipped` the first one raises its `CalibrationError`.
    """
    for frame in frames:
        try:
            pixels = frame.read()
        except CalibrationError as error:
            if skipped is None:
                raise
            skipped.append((frame.name, "; ".join(error.evidence)))
            continue
        yield frame, fit(pixels, size, frame.crop or crop)
