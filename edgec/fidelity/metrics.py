"""How much of the features and of the heads' decisions survived, compared with the float32 PyTorch model. numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.fidelity.tasks import meters
from edgec.onboard import vectorised
from edgec.onboard.judging import GATES, figures
from edgec.onboard.vectorised import cosines
from edgec.records.evidence import Evidence
from edgec.records.fidelity import HeadFacts, StageFidelity

Features = dict[str, NDArray[Any]]
"""By output name: float32, or int32 where a head gives labels."""


class Fidelity:
    """Collects cosines of frames, and what heads decide, batch by batch, so that the outputs of a long run need not be held in
    memory.

    With `features` false, the model has outputs of `heads` only.
    """

    def __init__(self, heads: Sequence[HeadFacts] = (), *, features: bool = True) -> None:
        self._features = features
        self._frames = 0
        self._cls: list[NDArray[np.float64]] = []
        self._patches: list[NDArray[np.float64]] = []
        self._meters = meters(heads)

    def add(self, expected: Mapping[str, NDArray[Any]], actual: Mapping[str, NDArray[Any]]) -> None:
        """`cls` [N, D], `patches` [N, rows, columns, D] and the heads' outputs, of the same frames."""
        self._frames += len(next(iter(expected.values())))
        if self._features:
            self._cls.append(cosines(expected["cls"], actual["cls"]).ravel())
            self._patches.append(cosines(expected["patches"], actual["patches"]).ravel())
        for name, meter in self._meters.items():
            meter.add(expected[name], actual[name])

    def summary(self, stage: str, evidence: Evidence) -> StageFidelity:
        """The fidelity of all frames that were added, at least one."""
        cosines = dict.fromkeys(GATES) if not self._features else self._figures()
        return StageFidelity(
            stage=stage,
            **cosines,
            frames=self._frames,
            evidence=evidence,
            tasks=tuple(meter.summary() for meter in self._meters.values()),
        )

    def _figures(self) -> dict[str, float]:
        return figures(np.concatenate(self._cls), np.concatenate(self._patches), vectorised)


def compare(expected: Features, actual: Features, stage: str, evidence: Evidence) -> StageFidelity:
    """The fidelity of features that are all in memory."""
    fidelity = Fidelity()
    fidelity.add(expected, actual)
    return fidelity.summary(stage, evidence)


def worst(fidelity: StageFidelity) -> float:
    """The figure that the budget bounds and that orders candidates: the smallest of the three cosines, so that no corner of the
    image is averaged away. For a model without features, the figure of its worst head."""
    return min(fidelity.cosines or [task.retained for task in fidelity.tasks])


def worst_of(conditions: Sequence[StageFidelity]) -> StageFidelity | None:
    """The condition in which the features suffer most; None if none has features. What heads decide of a black frame is not
    compared: there is nothing to decide."""
    return min((condition for condition in conditions if condition.cosines), key=worst, default=None)
