"""Antialiased bilinear resampling to a whole fraction of a size, as a convolution's numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def antialiasing(factor: int, rows: int, columns: int) -> tuple[Floats, Floats]:
    """The kernel, [2·factor, 2·factor], of a convolution with stride `factor` and a padding of half of it, and what to multiply
    its result by, [rows, columns]: one inside, more where the kernel reaches over the edge.

    A triangle as wide as two output pixels, its weights over those that are inside the picture, as Pillow does it and PyTorch's
    `interpolate` with `antialias=True`. `factor` is even.
    """
    if factor % 2:
        raise ValueError(f"an odd factor has another padding: {factor}")
    places = np.arange(2 * factor) + 0.5 - factor
    line = 1 - np.abs(places) / factor
    line /= line.sum()

    def inside(count: int) -> NDArray[np.float64]:
        first = np.arange(count)[:, None] * factor - factor // 2 + np.arange(2 * factor)
        return np.asarray(((first >= 0) & (first < count * factor)) @ line)

    return np.outer(line, line).astype(np.float32), (1 / np.outer(inside(rows), inside(columns))).astype(np.float32)
