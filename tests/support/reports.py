"""Samples as a measurement has them."""

from __future__ import annotations

import numpy as np


def samples(seed: int = 0, *, count: int = 400, ms: float = 20.0, noise: float = 0.01) -> list[float]:
    return list(np.round(ms * np.exp(np.random.default_rng(seed).normal(0, noise, count)), 4))
