"""The golden frames for a program that reads no archives: one file an array, its numbers one after the other, little-endian."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = "golden"
FRAMES = f"{FOLDER}/frames.bin"
DRIFT_WORLD = "drift/world.bin"
"""float32 [2 + directions, D]: mean, weights and axes of `edgec.onboard.drift.World`."""
DRIFT_GOLDEN = "drift/golden.bin"
"""float64 [golden frames]: the drift score of each one's recorded CLS token."""


@dataclass(frozen=True)
class Array:
    """What a file at `path` of the project's artefact holds: uint8, int32, float32 or float64."""

    path: str
    content: bytes

    @classmethod
    def of(cls, path: str, values: NDArray[Any]) -> Array:
        """Little-endian, in C's order."""
        return cls(path, np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())

    @property
    def sha256(self) -> str:
        """Of its content, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


def write_arrays(folder: Path, arrays: Sequence[Array]) -> None:
    """Write them into the artefact's folder of a project that is being written."""
    for array in arrays:
        (folder / array.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / array.path).write_bytes(array.content)
