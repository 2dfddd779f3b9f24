"""Rounding weights to int8 so that products keep their outputs, rather than each weight its value.

Weights are rounded one input channel after the other; what rounding takes from the outputs is made up for in the channels that
are not rounded yet, as far as activations vary together. (The scheme of GPTQ, arXiv 2210.17323, which itself goes back to
Optimal Brain Surgeon.) Where weights alone were rounded, ViT-S/16 kept a fifth to two fifths of the loss that its features have
by rounding to the nearest.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from edgec.graph.numbers import LIMIT, PAIR_LIMIT, weight_scales

DAMPING = 0.1
"""Of the mean variance, added to each channel's: what keeps a small calibration set from being taken at its word. On ViT-S/16
anything from 0.03 to 0.3 served equally."""
LAZY = 64
"""Channels whose effect on later ones is brought in at once."""

Floats = NDArray[np.float32]


def round_weight(weight: Floats, factors: Floats, *, paired: bool = False) -> tuple[NDArray[np.int8], Floats]:
    """Integers, int8 [C, out], and scales, float32 [out], of a weight [C, out].

    `factors` are `compensation` of the activation's moments, in blocks that together are C channels. `paired`: see
    `weight_scales`; its bound then holds for the integers that come out.
    """
    scales = weight_scales(weight, 1, paired=paired)
    size = factors.shape[-1]
    parts = [
        _round_block(weight[start : start + size], factor, scales, paired=paired)
        for start, factor in zip(range(0, len(weight), size), factors, strict=True)
    ]
    return np.concatenate(parts), scales


def compensation(moments: Floats) -> Floats:
    """For each block of second moments (or covariances) of an activation, [parts, size, size], the upper triangular factor by
    whose rows `round_weight` spreads what it loses."""
    return np.stack([_factor(block.astype(np.float64)) for block in moments])


def _factor(moments: NDArray[np.float64]) -> Floats:
    diagonal = np.diag_indices(len(moments))
    usual = float(moments[diagonal].mean())
    # Moments of activations near the end of float32's range overflow, and a set of one colour varies in nothing.
    if np.isfinite(moments).all() and usual > 0:
        scaled = moments / usual
        for damping in (DAMPING, 1.0):
            damped = scaled.copy()
            damped[diagonal] += damping
            with suppress(np.linalg.LinAlgError):
                return np.asarray(np.linalg.cholesky(np.linalg.inv(damped)).T, dtype=np.float32)
    return np.eye(len(moments), dtype=np.float32)


def _round_block(weight: Floats, factor: Floats, scales: Floats, *, paired: bool) -> NDArray[np.int8]:
    left = weight / scales
    rounded = np.empty_like(left)
    size = len(left)
    for start in range(0, size, LAZY):
        end = min(start + LAZY, size)
        lost = np.empty_like(left[start:end])
        for row in range(start, end):
            low: Floats | int = -LIMIT
            high: Floats | int = LIMIT
            if paired and row % 2:
                before = rounded[row - 1]
                low = np.maximum(low, -PAIR_LIMIT - np.minimum(before, 0))
                high = np.minimum(high, PAIR_LIMIT - np.maximum(before, 0))
            rounded[row] = np.clip(np.rint(left[row]), low, high)
            lost[row - start] = (left[row] - rounded[row]) / factor[row, row]
            left[row + 1 : end] -= factor[row, row + 1 : end, None] * lost[row - start]
        left[end:] -= factor[start:end, end:].T @ lost
    return rounded.astype(np.int8)
