"""Cosines, as edgec/fidelity/cosines.py has them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def cosines(expected: NDArray[Any], actual: NDArray[Any]) -> NDArray[np.float64]:
    """The cosine of every vector (last axis) to its expected one, in float64.

    A vector that is not finite, or zero where the expected one is not, has cosine -1: garbage must not average away.
    """
    a, b = expected.astype(np.float64), actual.astype(np.float64)
    with np.errstate(all="ignore"):
        dot = (a * b).sum(axis=-1)
        norms = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
        cosine = np.where(norms > 0, dot / norms, np.where((a == b).all(axis=-1), 1.0, -1.0))
    sound: NDArray[np.float64] = np.where(np.isfinite(cosine) & np.isfinite(b).all(axis=-1), np.clip(cosine, -1, 1), -1.0)
    return sound
