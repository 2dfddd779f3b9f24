"""What the linter measures of a frame: a few hundred bytes, so that a set of any length is read in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgec.extras import later
from edgec.frames.types import Pixels

if TYPE_CHECKING:
    from PIL import Image
else:
    Image = later("PIL.Image")

HUES = 12
HASH_BITS = 256
NEAR_BITS = 24
"""Of 256. Measured on 138 photographs and frames of a still camera: the same picture saved again, scaled, darkened or cropped by
four pixels differs in up to 24 bits; different scenes in 58 or more; a still camera's frames a second apart in about 20."""

_HASH_SIDE = 16
_THUMBNAIL = (96, 96)
_MIN_SATURATION, _MIN_VALUE = 51, 51
"""Of 255; below these a pixel counts as grey."""
_ROWS_AT_ONCE = 1024

DARK, BRIGHT, BURNT = 30, 225, 0.4
"""Mean luma under and over which a frame is too dark or too bright, of 255, and the share of its pixels at the upper end."""
_HALF, _PEAK = 128, 0.999


@dataclass(frozen=True)
class Light:
    """One frame's mean luma, the luma that 99.9 % of its pixels do not exceed, both of 255, and the share of pixels at the upper
    end."""

    brightness: float
    peak: float
    burnt: float


def light(pixels: Pixels) -> Light:
    """Measures a frame's light at full resolution."""
    luma = np.asarray(Image.fromarray(pixels).convert("L"))
    counts = np.bincount(luma.ravel(), minlength=256)
    peak = int(np.searchsorted(np.cumsum(counts), _PEAK * luma.size))
    return Light(float(luma.mean()), min(peak, 255), float(counts[250:].sum() / luma.size))


def light_notes(lights: Sequence[Light]) -> tuple[str, ...]:
    """What is implausible about the light of all frames together, such as wrongly scaled samples, as sentences for people."""
    if not lights:
        return ()
    mean, peak = float(np.median([each.brightness for each in lights])), max(each.peak for each in lights)
    burnt = float(np.median([each.burnt for each in lights]))
    if peak < _HALF:
        return (
            f"no frame reaches half of the range: all but single pixels are under {peak + 1:.0f} of 255; it looks as if the "
            "samples had been scaled wrongly when the pictures were made, as 12 bits taken for 16",
        )
    if mean < DARK:
        return (f"the frames are dark: half of them have a mean luma under {mean:.0f} of 255; the model is judged on such alone",)
    if mean > BRIGHT or burnt > BURNT:
        return (f"the frames are overexposed: half of them have a mean luma over {mean:.0f} of 255, {burnt:.0%} of it clipped",)
    return ()


@dataclass(frozen=True)
class Look:
    """One frame's size, its light in luma from 0 to 255, its hues as shares of its pixels, and its perceptual hash."""

    height: int
    width: int
    brightness: float
    contrast: float
    """Standard deviation of the luma."""
    burnt: float
    """Share of pixels at the upper end of the range."""
    light: Light
    hues: NDArray[np.float32]
    """[12]: the share of the pixels in each twelfth of the colour circle; the rest is grey."""
    hash: NDArray[np.bool_]
    """[256]: dHash, whether luma rises from each cell of a 16 x 17 grid to the next in its row. Compression, scaling and exposure
    change few bits; between unrelated photographs about half differ."""

    def as_json(self) -> dict[str, Any]:
        """All of it, ready for `json.dumps`."""
        packed = np.packbits(self.hash).tobytes().hex()
        return {**vars(self), "light": vars(self.light), "hues": [float(share) for share in self.hues], "hash": packed}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Look:
        """What `as_json` gave."""
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(data["hash"]), np.uint8)).astype(np.bool_)
        return cls(**{**data, "light": Light(**data["light"]), "hues": np.array(data["hues"], np.float32), "hash": bits})


def look(pixels: Pixels) -> Look:
    """Measures a frame."""
    image = Image.fromarray(pixels)
    # Averages over boxes are cheap for large frames, and keep the camera's noise out of the measurements.
    small = image.resize(_THUMBNAIL, Image.Resampling.BOX)
    luma = np.asarray(small.convert("L"), np.float32)
    hue, saturation, value = np.moveaxis(np.asarray(small.convert("HSV")), 2, 0)
    coloured = hue[(saturation >= _MIN_SATURATION) & (value >= _MIN_VALUE)]
    counts = np.bincount(coloured.astype(np.int64) * HUES // 256, minlength=HUES)
    return Look(
        height=pixels.shape[0],
        width=pixels.shape[1],
        brightness=float(luma.mean()),
        contrast=float(luma.std()),
        burnt=float((luma >= 250).mean()),
        light=light(pixels),
        hues=(counts / luma.size).astype(np.float32),
        hash=perceptual_hash(pixels),
    )


def perceptual_hash(pixels: Pixels) -> NDArray[np.bool_]:
    """`Look.hash` of a frame."""
    grey = Image.fromarray(pixels).convert("L")
    grid = np.asarray(grey.resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX), np.float32)
    return (grid[:, 1:] > grid[:, :-1]).ravel()


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
