"""Frames for `random:` checkpoints: seeded noise with a spectrum like a photograph's, so that a model gets more than grey."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from edgec.errors import CalibrationError
from edgec.extras import later
from edgec.frames.types import Frame, FrameSet, Pixels

if TYPE_CHECKING:
    from PIL import Image
else:
    Image = later("PIL.Image")

DEFAULT_COUNT = 64
_MAX_COUNT = 100_000
_HEIGHT, _WIDTH = 480, 640
_RECIPE = "noise 1"
"""Part of every digest; to be changed whenever the same seed gives other frames."""


def random_set(reference: str) -> FrameSet:
    """The set that `random` or `random:N` means. Raises `CalibrationError` unless N is from 1 to 100,000."""
    _, colon, text = reference.partition(":")
    if colon and not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_COUNT):
        raise CalibrationError(
            f"{reference!r} is not a set of random frames.", remedy=f"give a count from 1 to {_MAX_COUNT}, as in random:64"
        )
    count = int(text) if colon else DEFAULT_COUNT
    names = [f"random_{index:05d}" for index in range(count)]
    frames = tuple(
        Frame(name, source=name, order=0, read=partial(_noise, index), digest=_sha256(f"{_RECIPE}:{index}"))
        for index, name in enumerate(names)
    )
    return FrameSet(f"random:{count}", _sha256(f"{_RECIPE}:0-{count}"), frames, random=True)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _noise(seed: int) -> Pixels:
    """Noise in seven octaves of blob sizes: white noise alone would become flat grey when it is scaled down."""
    generator = np.random.default_rng(seed)
    total = np.zeros((_HEIGHT, _WIDTH, 3), np.float32)
    for cell in (160, 80, 40, 20, 10, 5, 1):
        shape = (_HEIGHT // cell, _WIDTH // cell, 3)
        coarse = Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8))
        total += np.asarray(coarse.resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC), np.float32) - 127.5
    contrast = 60.0 / float(total.std())
    return np.clip(127.5 + contrast * total, 0, 255).astype(np.uint8)
