"""How much of what a robot asks for survived: classes, masks and depths of float32 and of what ships, held against each other.

What is measured is `edgec.onboard.tasks`, which boards measure by too; here it meets numpy and the report's records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray

from edgec.errors import RequestError
from edgec.onboard import tasks, vectorised
from edgec.records.fidelity import HeadFacts, Output, TaskFidelity

Array = NDArray[Any]


@dataclass(frozen=True)
class TaskBudgets:
    """What may be lost at most; None: not bounded. `min_agreement` holds for classes, `min_iou` for the mean over a mask's
    classes, `max_depth_error` for the relative error."""

    min_agreement: float | None = None
    min_iou: float | None = None
    max_depth_error: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("agreement", self.min_agreement), ("IoU", self.min_iou)):
            if value is not None and not 0 < value <= 1:
                raise RequestError(f"The least {name} must be above 0 and up to 1.", evidence=f"asked for: {value:g}")
        if self.max_depth_error is not None and not self.max_depth_error > 0:
            raise RequestError("The largest depth error must be above 0.", evidence=f"asked for: {self.max_depth_error:g}")

    def or_else(self, others: TaskBudgets) -> TaskBudgets:
        """These, and where one is not bounded, the other's."""
        return TaskBudgets(
            others.min_agreement if self.min_agreement is None else self.min_agreement,
            others.min_iou if self.min_iou is None else self.min_iou,
            others.max_depth_error if self.max_depth_error is None else self.max_depth_error,
        )


class TaskMeter:
    """Gathers one head's outputs. `add` takes batches of the same frames: what float32 gives, and what ships.

    Shapes are those of `edgec.heads.types.Output`; `ValueError` for two that differ. `classes` is how many labels there are,
    where the maps hold labels: others are garbage. Not given, the labels at hand decide.
    """

    def __init__(self, head: str, output: Output, *, classes: int = 0) -> None:
        self._head = head
        self._meter = tasks.Meter(head, output, vectorised, classes=classes)

    def add(self, expected: Array, actual: Array) -> None:
        if expected.shape != actual.shape:
            raise ValueError(f"{self._head}: {actual.shape} is not {expected.shape}")
        self._meter.add(expected, actual, len(expected), expected.shape[1:])

    def summary(self) -> TaskFidelity:
        """Raises `ValueError` if nothing was added."""
        return TaskFidelity.model_validate(self._meter.summary())


def shortfalls(found: Sequence[TaskFidelity], budgets: TaskBudgets, min_cosine: float | None = None) -> tuple[str, ...]:
    """What is beyond a budget, in words; nothing if all is within. `min_cosine` bounds the mean cosine of heads that give
    vectors."""
    return tuple(tasks.shortfalls([entry.model_dump() for entry in found], {**asdict(budgets), "min_cosine": min_cosine}))


def meters(heads: Sequence[HeadFacts]) -> dict[str, TaskMeter]:
    """A meter for each output of each head, by the output's name."""
    return {name: TaskMeter(name, head.output, classes=len(head.classes)) for head in heads for name in head.outputs}
