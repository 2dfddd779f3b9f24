"""int8 arithmetic imitated in numpy, for ranking choices before anything is lowered. Values come back as float32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgec.precision.plan import Range

Floats = NDArray[np.float32]


def quantise_weight(weight: Floats, bits: int = 8) -> Floats:
    """Symmetric, one scale an output channel; weight [C, out]."""
    limit = 2 ** (bits - 1) - 1
    scale = _nonzero(np.abs(weight).max(axis=0, keepdims=True) / limit)
    return np.asarray(np.clip(np.rint(weight / scale), -limit, limit) * scale, dtype=np.float32)


def quantise_static(values: Floats, seen: Range, activations: str) -> Floats:
    """One scale for all: `u8` with a zero point, or `s8` symmetric."""
    if activations == "s8":
        scale = max(-seen.low, seen.high) / 127 or 1.0
        return np.asarray(np.clip(np.rint(values / scale), -127, 127) * scale, dtype=np.float32)
    scale = (seen.high - seen.low) / 255 or 1.0
    zero = np.rint(-seen.low / scale)
    return np.asarray((np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale, dtype=np.float32)


def quantise_rows(values: Floats, group: int = 384) -> Floats:
    """One symmetric scale for each row and each `group` of its channels, as runtimes do per token; values [S, C]."""
    rows, channels = values.shape
    parts = -(-channels // group)
    padded = np.zeros((rows, parts * group), dtype=np.float32)
    padded[:, :channels] = values
    grouped = padded.reshape(rows, parts, group)
    scale = _nonzero(np.abs(grouped).max(axis=2, keepdims=True) / 127)
    return np.asarray((np.rint(grouped / scale) * scale).reshape(rows, -1)[:, :channels], dtype=np.float32)


def _nonzero(scale: Floats) -> Floats:
    return np.where(scale == 0, np.float32(1), scale)
