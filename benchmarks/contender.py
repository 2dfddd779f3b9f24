"""What takes part in a contest, and how its features are judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgec.fidelity.metrics import Features
from edgec.frames import Pixels
from edgec.onboard.vectorised import cosines
from edgec.records.evidence import Evidence

Run = Callable[[Pixels], Features]


@dataclass(frozen=True)
class Contender:
    """`run` takes one camera frame, uint8 [H, W, 3], and returns `cls` and `patches`."""

    name: str
    run: Run
    shipped: bool = False


@dataclass(frozen=True)
class Judgement:
    """Cosines to float32 torch, unrounded: ratios of losses are taken of them."""

    cls_mean: float
    patch_mean: float
    patch_p01: float
    frames: int
    evidence: str

    @property
    def lost_mean(self) -> float:
        """1 minus the mean cosine of patches."""
        return 1 - self.patch_mean

    @property
    def lost_p01(self) -> float:
        """1 minus the first percentile of patches' cosines."""
        return 1 - self.patch_p01


def judge(run: Run, frames: Sequence[Pixels], expected: Sequence[Features], evidence: Evidence = Evidence.HOST) -> Judgement:
    """Runs all frames, and compares with the features that torch has of them."""
    cls, patches = [], []
    for frame, reference in zip(frames, expected, strict=True):
        actual = run(frame)
        cls.append(cosines(reference["cls"], actual["cls"]).ravel())
        patches.append(cosines(reference["patches"], actual["patches"]).ravel())
    together = np.concatenate(patches)
    return Judgement(
        cls_mean=float(np.concatenate(cls).mean()),
        patch_mean=float(together.mean()),
        patch_p01=float(np.percentile(together, 1)),
        frames=len(frames),
        evidence=evidence.value,
    )
