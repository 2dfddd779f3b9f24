"""int8 arithmetic in numpy: scales, and values as they come back, for ranking choices before anything is lowered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgec.graph.plan import Range

Floats = NDArray[np.float32]

LIMIT = 127
PAIR_LIMIT = 128
"""The largest sum of two weights of one sign: 255 times it must stay below 2^15."""


def weight_scales(weight: Floats, axis: int, *, paired: bool = False) -> Floats:
    """One symmetric scale an output channel (`axis`), [channels].

    `paired` is for CPUs that add the products of neighbouring input channels, 2k and 2k + 1, in 16 bits: scales are then just so
    large that no such sum can saturate, whatever the activations are. On normally distributed weights they are a third larger
    than without, where weights of seven bits have scales twice as large.
    """
    moved = np.moveaxis(weight, axis, -1)  # [inputs, …, channels]; a convolution keeps its kernel between
    others = tuple(range(moved.ndim - 1))
    reach = np.abs(moved).max(axis=others)
    if paired:
        for sign in (1, -1):
            part = np.maximum(sign * moved, 0)
            reach = np.maximum(reach, (part[: len(part) // 2 * 2 : 2] + part[1::2]).max(axis=others, initial=0))
    # One in place of zero, and of subnormal numbers, which runtimes flush to zero.
    scale = reach / LIMIT
    return np.where(scale < np.finfo(np.float32).tiny, 1.0, scale).astype(np.float32)


def quantise_weight(weight: Floats, *, paired: bool = False) -> Floats:
    """Rounded to the nearest, one scale an output channel; weight [C, out]."""
    scale = weight_scales(weight, 1, paired=paired)
    return np.asarray(np.clip(np.rint(weight / scale), -LIMIT, LIMIT) * scale, dtype=np.float32)


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
    reach = np.abs(grouped).max(axis=2, keepdims=True)
    scale = np.where(reach == 0, np.float32(1), reach / 127)
    return np.asarray((np.rint(grouped / scale) * scale).reshape(rows, -1)[:, :channels], dtype=np.float32)
