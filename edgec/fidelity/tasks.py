"""How much of the heads' outputs survived: classes, masks and depths of what ships, compared with float32's.

The measures are those of `edgec.onboard.tasks`, which boards use too; here they are computed with numpy and become records.
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
    """The most that may be lost; None: no bound. `min_agreement` bounds classes, `min_iou` the mean over a mask's classes,
    `max_depth_error` the relative error. Raises `RequestError` for a bound that nothing can keep."""

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
        """These bounds, and the others' where one of these is None."""
        return TaskBudgets(
            others.min_agreement if self.min_agreement is None else self.min_agreement,
            others.min_iou if self.min_iou is None else self.min_iou,
            others.max_depth_error if self.max_depth_error is None else self.max_depth_error,
        )


class TaskMeter:
    """Compares the outputs of one head, batch by batch: float32's and those of what ships, for the same frames.

    Shapes are those of `edgec.heads.types.Output`. `classes` is the number of labels in maps of labels; other labels count as
    wrong. By default it follows from the labels that occur.
    """

    def __init__(self, head: str, output: Output, *, classes: int = 0) -> None:
        self._head = head
        self._meter = tasks.Meter(head, output, vectorised, classes=classes)

    def add(self, expected: Array, actual: Array) -> None:
        """Compare one batch. Raises `ValueError` for two shapes."""
        if expected.shape != actual.shape:
            raise ValueError(f"{self._head}: {actual.shape} is not {expected.shape}")
        self._meter.add(expected, actual, len(expected), expected.shape[1:])

    def summary(self) -> TaskFidelity:
        """Raises `ValueError` if nothing was added."""
        return TaskFidelity.model_validate(self._meter.summary())


def shortfalls(figures: Sequence[TaskFidelity], budgets: TaskBudgets, min_cosine: float | None = None) -> tuple[str, ...]:
    """Sentences about what is beyond the budgets; empty if nothing is. `min_cosine` bounds the mean cosine of heads that give
    vectors."""
    return tuple(tasks.shortfalls([entry.model_dump() for entry in figures], {**asdict(budgets), "min_cosine": min_cosine}))


def meters(heads: Sequence[HeadFacts]) -> dict[str, TaskMeter]:
    """A meter for each output of each head, by the output's name."""
    return {name: TaskMeter(name, head.output, classes=len(head.classes)) for head in heads for name in head.outputs}
