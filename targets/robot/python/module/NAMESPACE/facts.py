"""The types of what `contract.py` says about the model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np


class Role(Enum):
    """What an output is: of each frame, features [..., D], scores [C], labels [H, W], logits [C, H, W], depth [H, W] or
    values [..., K]."""

    FEATURES = "features"
    SCORES = "scores"
    LABELS = "labels"
    LOGITS = "logits"
    DEPTH = "depth"
    VALUES = "values"


@dataclass(frozen=True)
class InputFacts:
    """Frames are uint8 [batch, height, width, 3], RGB, 0 to 255. They are normalised in the model."""

    name: str
    batch: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of one batch."""
        return (self.batch, self.height, self.width, 3)


@dataclass(frozen=True)
class OutputFacts:
    """An output, in the order of `Outputs`. `shape` is that of a batch. Features are compared vector by vector, the output of a
    head as one `vector`. `recorded` is the file with what was recorded of the golden frames. `classes` are names by number."""

    name: str
    member: str
    role: Role
    shape: tuple[int, ...]
    vector: int
    recorded: str
    classes: tuple[str, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """`labels` are int32, everything else is float32."""
        return np.dtype(np.int32 if self.role is Role.LABELS else np.float32)

    @property
    def values(self) -> int:
        """How many there are in one frame."""
        return math.prod(self.shape[1:])


@dataclass(frozen=True)
class GoldenFacts:
    """The golden frames' file, their number, and how far what is computed of them here may be from what was recorded: what
    `edgec verify` allows on another machine. `difference` is a share of the output's largest value, `labels` the least share that
    agrees. Heads may move `head_moves` times as far as the features, and `head_slack` more. Features that moved by no more than
    `still` have not moved, and neither may labels, but for 1 - `labels_still`."""

    frames: str
    count: int
    difference: float
    cosine: float
    labels: float
    head_moves: float
    head_slack: float
    still: float
    labels_still: float


@dataclass(frozen=True)
class DriftFacts:
    """The drift score is of the CLS token, the output of index `output` in `OUTPUTS`. `world` is the file with what it is
    compared with: mean, weights, and axes in `directions`. A frame with a score above `threshold` alarms; `most` is the highest
    score, which a token that is not finite has. `recorded` is the file with the scores of what was recorded of the golden
    frames."""

    output: int
    directions: int
    threshold: float
    most: float
    world: str
    recorded: str


@dataclass(frozen=True)
class FileFacts:
    """A file that is checked before it is read, by its path in the artefact's folder."""

    path: str
    bytes: int
    sha256: str
