"""How pixels are normalised before the first layer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of RGB in [0, 1]. `reason` says on what evidence: the training set, or a configuration."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    name: str
    reason: str


LVD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SAT = ((0.430, 0.411, 0.296), (0.213, 0.156, 0.143))
"""Mean and standard deviation of the two training sets, LVD-1689M and SAT-493M. Source: Meta's model cards."""
