"""A frame is one camera picture: uint8 RGB, height x width x 3. A set is an ordered, hashed list of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edgec.frames.measuring import Look

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
    (frames of one video share one), `order` is its position in that source, or the time at which a bag's message was recorded."""

    name: str
    source: str
    order: int
    read: Callable[[], Pixels] = field(repr=False, compare=False)
    """Decodes the picture. Raises `CalibrationError` naming it if it is damaged."""
    digest: str = ""
    """SHA-256 of what the picture is decoded from: equal digests are the same picture."""
    crop: Crop | None = None
    """What the set's manifest says; it wins over the build's default."""
    side: Side | None = None
    """The side of the split that the set's manifest puts the frame on; None leaves it to the split."""


@dataclass(frozen=True)
class Origin:
    """A bag's topic that frames of a set are from: their `Frame.source`, and their `Frame.order` is the time in ns at which they
    were recorded. `messages` are those that can be read."""

    source: str
    sha256: str
    topic: str
    messages: int


@dataclass(frozen=True)
class FrameSet:
    """`sha256` is over the names, the bytes and the manifest's settings. `skipped` are unusable files, each with the reason.

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
    """The manifest's seed for sampling and splitting."""
    validation_share: float = 0.25
    """The share of the set that is for validation, from 0 to 1."""
    notes: tuple[str, ...] = ()
    """What was left out or ignored when the set was read, as sentences for people."""
    origins: tuple[Origin, ...] = ()
    """Of frames from bags."""
    sampled_of: int | None = None
    """The number of frames in the set, if these are a sample of them; `sha256` is then empty."""


@dataclass(frozen=True)
class Split:
    """The frames that a build calibrates on and those that it judges by, both in the set's order. Each was decoded once, without
    errors.

    `skipped` are frames that turned out damaged, `copies` those left out because another frame holds exactly the same picture.
    `notes` says what is implausible about the light in the chosen frames, `looks` what was measured of each, by name.
    """

    calibration: tuple[Frame, ...]
    validation: tuple[Frame, ...]
    skipped: tuple[Skipped, ...] = ()
    copies: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    looks: Mapping[str, Look] = field(default_factory=dict, repr=False, compare=False)
