"""Artefacts whose heads read colours, frames of known colours, and what a run tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgec.running.types import Done
from tests.support.meaning import HEIGHT, WIDTH, write_meaning

RED, GREEN, BLUE = (250, 10, 20), (5, 240, 30), (15, 25, 245)
Bytes = NDArray[np.uint8]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_meaning(tmp_path_factory.mktemp("running") / "one.edgec")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in batches of two."""
    return write_meaning(tmp_path_factory.mktemp("running") / "two.edgec", batch=2)


@pytest.fixture(scope="session")
def headless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_meaning(tmp_path_factory.mktemp("running") / "bare.edgec", with_heads=False)


@pytest.fixture(scope="session")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In batches of two, calibrated on reddish frames."""
    return write_meaning(
        tmp_path_factory.mktemp("running") / "knowing.edgec", batch=2, like=[reddish(seed) for seed in range(40)]
    )


def reddish(seed: int) -> Bytes:
    noise = np.random.default_rng(seed).integers(-9, 10, (HEIGHT, WIDTH, 3))
    return np.clip(plain((200, 40, 40)) + noise, 0, 255).astype(np.uint8)


def plain(colour: tuple[int, int, int], height: int = HEIGHT, width: int = WIDTH) -> Bytes:
    return np.full((height, width, 3), colour, np.uint8)


def halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> Bytes:
    picture = plain(left)
    picture[:, WIDTH // 2 :] = right
    return picture


def save(path: Path, picture: Bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Red, green, half red and half blue; the second of the files, by number, is damaged."""
    place = tmp_path / "frames"
    save(place / "frame 2.png", plain(RED))
    save(place / "frame 10.png", plain(GREEN))
    save(place / "frame 11.png", halves(RED, BLUE))
    (place / "frame 9.png").write_bytes(b"no picture")
    return place


def film(path: Path, pictures: list[Bytes], rate: int = 10) -> Path:
    """Lossless, so that colours are what they were."""
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install edgec[video]")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=rate, options={"qp": "0", "preset": "ultrafast"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "rgb24"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@dataclass
class Told:
    """A listener that remembers."""

    frames: list[Done] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    finished: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    total: int | None = None

    def opened(self, opened: Any) -> None:
        self.total = opened.total

    def skipped(self, skipped: tuple[str, str]) -> None:
        self.left_out.append(skipped)

    def done(self, done: Done) -> None:
        self.frames.append(done)

    def progress(self, figures: Any, recent: Any, feed: Any) -> None:
        assert figures.frames == len(self.frames)
        assert recent.latency.min_ms > 0

    def salvaged(self, written: Any) -> None:
        self.finished.append(written)

    def noted(self, text: str) -> None:
        self.notes.append(text)

    @property
    def names(self) -> list[str]:
        return [done.name for done in self.frames]
