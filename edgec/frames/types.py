"""A frame is one camera picture: uint8 RGB, height x width x 3. A set is an ordered, hashed list of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""uint8 [H, W, 3], RGB."""

Crop = Literal["centre", "resize", "pad"]
"""How a frame is brought to a size: cover it and cut the rest off, stretch, or letterbox with black."""

Side = Literal["calibration", "validation"]

Skipped = tuple[str, str]
"""A frame or file that cannot be used: its name, and why."""


@dataclass(frozen=True)
class Frame:
    """A frame that can be read: `name` is stable and unique in its set, `source` says which camera or place it is from
    (frames of one video share one), `order` is its place in that source."""

    name: str
    source: str
    order: int
    read: Callable[[], Pixels] = field(repr=False, compare=False)
    """Decodes the picture. Raises `CalibrationError` naming it if it is damaged."""
    digest: str = ""
    """SHA-256 of what the picture is decoded from: equal digests are the same picture."""
    crop: Crop | None = None
    """What the set's manifest asks for; it wins over what a build would do by default."""
    side: Side | None = None
    """The side of the split that the set's manifest puts the frame on; None leaves it to the split."""


@dataclass(frozen=True)
class FrameSet:
    """`sha256` is over the names, the bytes and the manifest's settings. `skipped` are damaged files, each with the reason.

    Frames of a video follow each other in order, so that reading a set from start to end decodes each video once.
    """

    name: str
    sha256: str
    frames: tuple[Frame, ...]
    skipped: tuple[Skipped, ...] = ()
    random: bool = False
    """Noise, for `random:` checkpoints only."""
    description: str = ""
    seed: int = 0
    """Where the set's manifest wants sampling and splitting to start from."""
    validation_share: float = 0.25
    """How much of the set is for validation, of 1."""
    notes: tuple[str, ...] = ()
    """What the user should know of how the set was read: what was left out, what was ignored."""
    sampled_of: int | None = None
    """Of how many frames these are a sample, where the set was not read whole; its `sha256` is then empty."""


@dataclass(frozen=True)
class Split:
    """What a build calibrates on and what it judges by, both in the set's order. Every frame was decoded once: it is good.

    `skipped` are frames that turned out damaged, `copies` those left out because another frame holds the very same picture.
    `notes` are what the user should know of the light in the chosen frames.
    """

    calibration: tuple[Frame, ...]
    validation: tuple[Frame, ...]
    skipped: tuple[Skipped, ...] = ()
    copies: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
