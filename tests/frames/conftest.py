"""Pictures and sets made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgec.frames import Frame, FrameSet, Pixels

MakePixels = Callable[..., Pixels]
MakePicture = Callable[..., Path]
MakeSet = Callable[..., FrameSet]


def scene(seed: int, height: int = 72, width: int = 96) -> Pixels:
    """Coloured blobs: of another seed it is another scene, to a perceptual hash as well."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture
def pixels() -> MakePixels:
    return scene


@pytest.fixture
def picture(tmp_path: Path) -> MakePicture:
    """Writes a scene to a path below `tmp_path`, in the format of its suffix."""

    def make(name: str, seed: int = 0, height: int = 72, width: int = 96) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(seed, height, width)).save(path)
        return path

    return make


@pytest.fixture
def frameset() -> MakeSet:
    """A set of `(source, order, seed)`; the seed is the picture, None a damaged one."""

    def make(*frames: tuple[str, int, int | None], **settings: object) -> FrameSet:
        def reader(seed: int | None, name: str) -> Callable[[], Pixels]:
            def read() -> Pixels:
                from edgec.frames.pictures import damaged

                if seed is None:
                    raise damaged(name, "cut short")
                return scene(seed, 24, 32)

            return read

        made = tuple(
            Frame(f"{source}#{order}", source, order, reader(seed, f"{source}#{order}"), digest=f"{source}#{order}")
            for source, order, seed in frames
        )
        return FrameSet("made", "0" * 64, made, **settings)  # type: ignore[arg-type]

    return make
