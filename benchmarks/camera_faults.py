"""What can happen to a camera and its light, done to frames."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.uint8]
Fault = Callable[[Pixels], Pixels]
"""Takes and gives a frame, uint8 [H, W, 3]."""

_SENSOR_NOISE = 3.0
"""Standard deviation in the dark: without it, a dark picture would be flatter than any camera's."""


def camera_faults() -> dict[str, Fault]:
    """By name. What is random is the same for every call of this function."""
    random = np.random.default_rng(0)

    def noisy(values: NDArray[np.floating], spread: float) -> Pixels:
        return _bytes(values + random.normal(0, spread, values.shape))

    def darkened(share: float) -> Fault:
        return lambda frame: noisy(frame * share, _SENSOR_NOISE)

    def covered(share: float, level: float = 40.0) -> Fault:
        return lambda frame: _covered(frame, share, level, random)

    return {
        "half the light": darkened(0.5),
        "a quarter of the light": darkened(0.25),
        "a tenth of the light": darkened(0.1),
        "darkness, 1/50": darkened(0.02),
        "1.5 times the light": lambda frame: _bytes(frame * 1.5),
        "twice the light": lambda frame: _bytes(frame * 2.0),
        "4 times the light": lambda frame: _bytes(frame * 4.0),
        "fog": lambda frame: _bytes(frame * 0.3 + 140),
        "blur, sigma 1 pixel": blurred(1),
        "blur, sigma 2": blurred(2),
        "blur, sigma 4": blurred(4),
        "blur, sigma 8": blurred(8),
        "noise, sigma 5 of 255": lambda frame: noisy(frame.astype(np.float64), 5),
        "noise, sigma 10": lambda frame: noisy(frame.astype(np.float64), 10),
        "noise, sigma 30": lambda frame: noisy(frame.astype(np.float64), 30),
        "JPEG of quality 30": compressed(30),
        "JPEG of quality 10": compressed(10),
        "JPEG of quality 3": compressed(3),
        "nearer by a third": lambda frame: _turned(frame, 0),
        "turned by 5 degrees": lambda frame: _turned(frame, 5),
        "turned by 15 degrees": lambda frame: _turned(frame, 15),
        "turned by 90 degrees": lambda frame: _turned(frame, 90),
        "upside down": lambda frame: np.ascontiguousarray(frame[::-1, ::-1]),
        "mirrored": lambda frame: np.ascontiguousarray(frame[:, ::-1]),
        "a tenth covered": covered(0.1),
        "a quarter covered": covered(0.25),
        "half covered": covered(0.5),
        "four fifths covered": covered(0.8),
        "covered, dark": covered(1),
        "covered, grey": covered(1, 128),
        "black": lambda frame: np.zeros_like(frame),
        "wrong row stride": _sheared,
        "BGR for RGB": lambda frame: np.ascontiguousarray(frame[..., ::-1]),
        "colour cast, 1.15": cast(1.15),
        "colour cast, 1.3": cast(1.3),
        "colour cast, 1.6": cast(1.6),
        "grey": lambda frame: _bytes(np.repeat(frame.mean(axis=-1, keepdims=True), 3, axis=-1)),
    }


def blurred(sigma: float) -> Fault:
    """Out of focus, by pixels of the model's frame."""
    return lambda frame: np.asarray(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(sigma)))


def cast(factor: float) -> Fault:
    """Red times the factor, blue divided by it."""
    return lambda frame: _bytes(frame * np.array([factor, 1, 1 / factor]))


def compressed(quality: int) -> Fault:
    """As a camera's stream at a low rate."""

    def fault(frame: Pixels) -> Pixels:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file).convert("RGB"))

    return fault


def _bytes(values: NDArray[np.floating]) -> Pixels:
    result: Pixels = np.clip(values, 0, 255).astype(np.uint8)
    return result


def _turned(frame: Pixels, degrees: float) -> Pixels:
    """Cut so far that no corner is empty, and enlarged again."""
    height, width = frame.shape[:2]
    picture = Image.fromarray(frame)
    if degrees == 90:
        picture = picture.rotate(degrees, expand=True)
    else:
        margin = width // 8, height // 8
        picture = picture.rotate(degrees, Image.Resampling.BICUBIC)
        picture = picture.crop((*margin, width - margin[0], height - margin[1]))
    result: Pixels = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
    return result


def _covered(frame: Pixels, share: float, level: float, random: np.random.Generator) -> Pixels:
    """From the left, by something without detail."""
    result = frame.copy()
    columns = round(share * frame.shape[1])
    result[:, :columns] = _bytes(random.normal(level, 6, (frame.shape[0], columns, 3)))
    return result


def _sheared(frame: Pixels) -> Pixels:
    """Each row begins three pixels later than the one above it, as if a buffer's padding were taken for pixels."""
    return np.stack([np.roll(row, 3 * number, axis=0) for number, row in enumerate(frame)])
