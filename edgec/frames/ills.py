"""What befalls a camera, made from good frames: darkness, glare, blur, noise, compression, grey, a colour cast, a covered lens.

For judging how a model holds up where its calibration set never was. They are rough: a robot's own bad frames say more.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.frames.types import Pixels

OTHER_PLACES = "other places"

_DARK, _BRIGHT = 0.25, 2.0
"""Factors on pixel values: two stops under-exposed, one over-exposed, as cameras' curves have it."""
_BLUR = 0.012
"""Standard deviation, as a share of the shorter side: 2.7 pixels at 224x224."""
_NOISE = 25.0
"""Standard deviation of each sample, of 255: a small sensor at night."""
_QUALITY = 8
"""Of JPEG, of 100: a video link that is nearly lost."""
_CAST = (1.0, 0.75, 0.45)
"""Red, green, blue: a camera that takes daylight for its white, under a bulb."""
_LUMA = (0.299, 0.587, 0.114)


def _dark(pixels: Pixels) -> Pixels:
    return _scaled(pixels, _DARK)


def _bright(pixels: Pixels) -> Pixels:
    return _scaled(pixels, _BRIGHT)


def _cast(pixels: Pixels) -> Pixels:
    return _scaled(pixels, np.array(_CAST))


def _grey(pixels: Pixels) -> Pixels:
    luma = _rounded(pixels @ np.array(_LUMA))
    return np.repeat(luma[..., None], 3, axis=2)


def _black(pixels: Pixels) -> Pixels:
    return np.zeros_like(pixels)


def _noise(pixels: Pixels) -> Pixels:
    # The same picture gets the same noise, on every machine.
    seed = int.from_bytes(hashlib.sha256(pixels.tobytes()).digest()[:8], "big")
    return _rounded(pixels + np.random.default_rng(seed).normal(0, _NOISE, pixels.shape))


def _blur(pixels: Pixels) -> Pixels:
    from PIL import Image, ImageFilter

    radius = _BLUR * min(pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def _jpeg(pixels: Pixels) -> Pixels:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY)
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))


def _scaled(pixels: Pixels, factor: float | NDArray[np.float64]) -> Pixels:
    return _rounded(pixels * factor)


def _rounded(values: NDArray[np.floating[Any]]) -> Pixels:
    rounded: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded


ILLS: dict[str, Callable[[Pixels], Pixels]] = {
    "dark": _dark,
    "bright": _bright,
    "blurred": _blur,
    "noisy": _noise,
    "JPEG": _jpeg,
    "grey": _grey,
    "colour cast": _cast,
    "black": _black,
}
"""By the word that reports use: from a frame, uint8 [H, W, 3], another of its shape."""
ALIKE = frozenset({"black"})
"""Those of which all frames become the same."""


def conditions(home: Sequence[Pixels], foreign: Sequence[Pixels]) -> tuple[list[Pixels], tuple[tuple[str, int], ...]]:
    """The frames of all conditions, and each one's name and number: the `foreign` frames as they are, if there are any, and the
    `home` frames, at least one, with each of the camera's ills."""
    frames, names = list(foreign), [(OTHER_PLACES, len(foreign))] if foreign else []
    for name, ill in ILLS.items():
        made = [ill(frame) for frame in (home[:1] if name in ALIKE else home)]
        frames += made
        names.append((name, len(made)))
    return frames, tuple(names)
