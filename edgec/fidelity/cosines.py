"""The cosine between what was expected and what came, in a way that garbage cannot pass. numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cosines(expected: NDArray[np.float32], actual: NDArray[np.float32]) -> NDArray[np.float64]:
    """The cosine of every feature vector (last axis) to its expected one, shape `expected.shape[:-1]`, in float64.

    A vector that is not finite, or zero where the expected one is not, has cosine -1: garbage must not average away.
    """
    a, b = expected.astype(np.float64), actual.astype(np.float64)
    with np.errstate(all="ignore"):
        dot = (a * b).sum(axis=-1)
        norms = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
        cosine = np.where(norms > 0, dot / norms, np.where((a == b).all(axis=-1), 1.0, -1.0))
    result: NDArray[np.float64] = np.where(np.isfinite(cosine) & np.isfinite(b).all(axis=-1), np.clip(cosine, -1, 1), -1.0)
    return result
