"""How much of the features survived: cosines to the float32 PyTorch model's. numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgec.evidence import Evidence
from edgec.report.schema import StageFidelity

Features = dict[str, NDArray[np.float32]]


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


class Fidelity:
    """Gathers frames' cosines batch by batch, so that features of a long run need not be held."""

    def __init__(self) -> None:
        self._cls: list[NDArray[np.float64]] = []
        self._patches: list[NDArray[np.float64]] = []

    def add(self, expected: Features, actual: Features) -> None:
        """`cls` [N, D] and `patches` [N, rows, columns, D] of the same frames."""
        self._cls.append(cosines(expected["cls"], actual["cls"]).ravel())
        self._patches.append(cosines(expected["patches"], actual["patches"]).ravel())

    def summary(self, stage: str, evidence: Evidence) -> StageFidelity:
        cls, patches = np.concatenate(self._cls), np.concatenate(self._patches)
        return StageFidelity(
            stage=stage,
            cls_cosine_mean=round(float(cls.mean()), 6),
            patch_cosine_mean=round(float(patches.mean()), 6),
            patch_cosine_p01=round(float(np.percentile(patches, 1)), 6),
            frames=len(cls),
            evidence=evidence,
        )


def compare(expected: Features, actual: Features, stage: str, evidence: Evidence) -> StageFidelity:
    """The fidelity of features that are all at hand."""
    fidelity = Fidelity()
    fidelity.add(expected, actual)
    return fidelity.summary(stage, evidence)


def worst(fidelity: StageFidelity) -> float:
    """The figure that the budget bounds: the smallest of the three, so that no corner of the image is averaged away."""
    return min(fidelity.cls_cosine_mean, fidelity.patch_cosine_mean, fidelity.patch_cosine_p01)
