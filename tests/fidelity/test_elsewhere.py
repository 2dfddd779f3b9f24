"""Fidelity away from home: each condition is judged by itself, and the worst of them is within the budget or not."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.errors import RequestError
from edgec.fidelity.budget import Budget
from edgec.fidelity.elsewhere import Elsewhere, measure_elsewhere
from edgec.fidelity.metrics import worst_of
from edgec.fidelity.reference import Reference
from edgec.frames.ills import ILLS, OTHER_PLACES, conditions
from edgec.frames.types import Pixels
from edgec.records.evidence import Evidence
from edgec.records.fidelity import StageFidelity
from tests.support.frames import pictures
from tests.support.models import SMALL


def features(frames: Pixels) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """Of [N, H, W, 3]: means of blocks of 16 by 16, which no two of these frames have in common."""
    count, height, width, _ = frames.shape
    blocks = frames.reshape(count, height // 16, 16, width // 16, 16, 3).mean(axis=(2, 4)) + np.array([1.0, 2.0, 4.0])
    return {"cls": blocks.mean(axis=(1, 2)).astype(np.float32), "patches": blocks.astype(np.float32)}


@pytest.fixture(scope="module")
def elsewhere() -> Elsewhere:
    home, foreign = list(pictures(SMALL, 2)), list(pictures(SMALL, 5))[2:]
    frames, names = conditions(home, foreign)
    stack = np.stack(frames)
    return Elsewhere(Reference(stack, features(stack)), names)


def test_the_conditions(elsewhere: Elsewhere) -> None:
    assert dict(elsewhere.conditions) == {OTHER_PLACES: 3, **dict.fromkeys(ILLS, 2), "black": 1}
    assert [(name, len(part.frames)) for name, part in elsewhere.each()] == list(elsewhere.conditions)
    assert elsewhere.batches(2) == 2 + (len(ILLS) - 1) + 1
    assert OTHER_PLACES not in dict(conditions(list(pictures(SMALL, 1)), [])[1])


@pytest.mark.parametrize("batch", [1, 2])
def test_each_is_judged_by_itself(elsewhere: Elsewhere, batch: int) -> None:
    def run(frames: Pixels) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
        """Right but where it is dark."""
        actual = features(frames)
        for index in np.flatnonzero(frames.max(axis=(1, 2, 3)) < 80):
            actual["patches"][index, 0, 0] *= [1, -1, 1]
        return actual

    steps: list[int] = []
    judged = measure_elsewhere(elsewhere, run, batch, lambda: steps.append(1), Evidence.HOST)
    assert [part.stage for part in judged] == [name for name, _ in elsewhere.conditions]
    assert len(steps) == elsewhere.batches(batch)
    beyond = {part.stage for part in judged if min(part.cosines) < 0.999}
    assert beyond == {"dark", "black"}
    lowest = worst_of(judged)
    assert lowest is not None
    assert lowest.stage in beyond


def stage(name: str, p01: float | None) -> StageFidelity:
    cosines = dict.fromkeys(("cls_cosine_mean", "patch_cosine_mean"), None if p01 is None else 1.0)
    return StageFidelity(stage=name, **cosines, patch_cosine_p01=p01, frames=3, evidence=Evidence.HOST)


HOME = stage("home", 0.9995)


def test_the_budget_bounds_the_worst_condition() -> None:
    conditions = [stage("dark", 0.997), stage("blurred", 0.985), stage("grey", 0.999)]
    [sentence] = Budget(0.99).lost(HOME, conditions)
    assert sentence == "fidelity elsewhere (blurred) 0.98500 (at least 0.99)"
    assert Budget(0.99, elsewhere=0.98).keeps(HOME, conditions)
    assert not Budget(0.98, elsewhere=0.99).keeps(HOME, conditions)
    assert Budget(0.99).keeps(HOME)


def test_without_features_nothing_is_bounded_elsewhere() -> None:
    assert Budget(0.99).keeps(HOME, [stage("black", None)])
    assert worst_of([stage("black", None)]) is None


@pytest.mark.parametrize("bound", [0.0, 1.5, -1.0])
def test_a_bound_that_nothing_can_keep(bound: float) -> None:
    with pytest.raises(RequestError) as caught:
        Budget(0.99, elsewhere=bound)
    assert f"--min-fidelity-elsewhere {bound:g}" in caught.value.evidence[0]
