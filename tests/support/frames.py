"""Frames for tests: photographs that edgec ships, brought to a size, and pictures that are drawn here."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from edgec.model.spec import Size

PHOTOGRAPHS = Path(__file__).resolve().parents[2] / "calibration" / "demo"


@cache
def _photographs(size: Size, count: int) -> NDArray[np.uint8]:
    paths = sorted(PHOTOGRAPHS.glob("*.jpg"))[:count]
    assert len(paths) == count
    frames = [np.asarray(ImageOps.fit(Image.open(path).convert("RGB"), (size.width, size.height))) for path in paths]
    return np.stack(frames)


def pictures(size: Size, count: int) -> NDArray[np.uint8]:
    """Photographs, uint8 [count, H, W, 3]."""
    return _photographs(size, count).copy()


def draw_pictures(folder: Path, count: int = 16, side: int = 96) -> Path:
    """`count` different pictures as PNG files: soft colours with a few shapes and some noise, from a fixed seed each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        random = np.random.default_rng(number)
        ramp = np.linspace(random.integers(0, 256, 3), random.integers(0, 256, 3), side)
        ground = ramp[None] * np.linspace(0.5, 1, side)[:, None, None] + random.normal(0, 8, (side, side, 3))
        picture = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
        pen = ImageDraw.Draw(picture)
        for _ in range(6):
            x, y, width, height = (int(value) for value in random.integers(0, side, 4))
            colour = tuple(int(value) for value in random.integers(0, 256, 3))
            shape = pen.ellipse if random.random() < 0.5 else pen.rectangle
            shape((x, y, x + width // 2 + 4, y + height // 2 + 4), fill=colour)
        # Letters: numbers would make them one sequence.
        picture.save(folder / f"scene {chr(ord('a') + number)}.png")
    return folder
