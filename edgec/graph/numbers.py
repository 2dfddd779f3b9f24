"""int8 and E4M3 arithmetic in numpy: scales, and values as they come back, for ranking choices before anything is lowered."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from edgec.graph.plan import Bytes, Range

Floats = NDArray[np.float32]

LIMIT = 127
E4M3 = np.dtype(ml_dtypes.float8_e4m3fn)
LIMITS: dict[Bytes, int] = {"u8": LIMIT, "s8": LIMIT, "fp8": 448}
"""The largest number of a weight, by what its activation becomes."""
PAIR_LIMIT = 128
"""The largest sum of two weights of one sign: 255 times it must stay below 2^15."""


def weight_scales(weight: Floats, axis: int, *, activations: Bytes = "s8", paired: bool = False) -> Floats:
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
    scale = reach / LIMITS[activations]
    return np.where(scale < np.finfo(np.float32).tiny, 1.0, scale).astype(np.float32)


def weight_bytes(weight: Floats, scales: Floats, activations: Bytes) -> NDArray[Any]:
    """The weight over its scales, which broadcast over it, rounded to the nearest: int8, or E4M3 if the activation is."""
    limit, scaled = LIMITS[activations], weight / scales
    floats = activations == "fp8"
    return np.clip(scaled if floats else np.rint(scaled), -limit, limit).astype(E4M3 if floats else np.int8)


def quantise_weight(weight: Floats, *, activations: Bytes = "s8", paired: bool = False) -> Floats:
    """Rounded to the nearest, one scale an output channel; weight [C, out]."""
    scale = weight_scales(weight, 1, activations=activations, paired=paired)
    return np.asarray(weight_bytes(weight, scale, activations).astype(np.float32) * scale, dtype=np.float32)


def quantise_static(values: Floats, seen: Range, activations: Bytes) -> Floats:
    """One scale for all: `u8` with a zero point, `s8` and `fp8` symmetric. What is beyond the range becomes its end."""
    if activations == "fp8":
        scale = max(-seen.low, seen.high) / 448 or 1.0
        return np.asarray(np.clip(values / scale, -448, 448).astype(E4M3).astype(np.float32) * scale, dtype=np.float32)
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
