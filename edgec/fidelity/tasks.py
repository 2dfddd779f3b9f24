"""How much of what a robot asks for survived: classes, masks and depths of float32 and of what ships, held against each other.

Results are gathered batch by batch, in numbers that do not grow with the frames. numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.errors import RequestError
from edgec.fidelity.cosines import cosines
from edgec.records.base import Record
from edgec.records.fidelity import Classes, Depths, HeadFacts, Masks, Output, TaskFidelity, Vectors

Array = NDArray[Any]
MOST_CLASSES = 4096
"""Labels from here on are garbage, where nobody says how many classes there are."""
GARBAGE = 1e6
"""The relative error of a depth that is not finite: it must not average away, and JSON has no infinity."""


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
        self.head, self.output = head, output
        self._frames = 0
        self._agreed = 0
        self._margins = np.zeros(2)
        self._smallest = np.inf
        self._fixed = classes > 0
        self._confusion = np.zeros((classes, classes + 1), np.int64)
        self._relative = self._squared = 0.0
        self._count = 0
        self._cosine_sum, self._cosine_min = 0.0, 1.0

    def add(self, expected: Array, actual: Array) -> None:
        if expected.shape != actual.shape:
            raise ValueError(f"{self.head}: {actual.shape} is not {expected.shape}")
        self._frames += len(expected)
        {
            "scores": self._add_scores,
            "logits": lambda a, b: self._add_labels(_best(a), _best(b)),
            "labels": lambda a, b: self._add_labels(_whole(a), _whole(b)),
            "depth": self._add_depth,
            "values": self._add_values,
        }[self.output](expected, actual)

    def summary(self) -> TaskFidelity:
        """Raises `ValueError` if nothing was added."""
        if not self._frames:
            raise ValueError(f"{self.head}: no frames")
        part: dict[str, Record] = {}
        if self.output == "scores":
            part["classes"] = Classes(
                agreement=round(self._agreed / self._frames, 6),
                margin_float32=_rounded(self._margins[0] / self._frames),
                margin_shipped=_rounded(self._margins[1] / self._frames),
                smallest_margin=_rounded(self._smallest),
            )
        elif self.output in ("labels", "logits"):
            part["masks"] = self._masks()
        elif self.output == "depth":
            error, square = self._relative / self._count, self._squared / self._count
            part["depths"] = Depths(relative_error=_rounded(error), rmse=_rounded(square**0.5))
        else:
            mean = self._cosine_sum / self._count
            part["values"] = Vectors(cosine_mean=round(mean, 6), cosine_min=round(self._cosine_min, 6))
        return TaskFidelity.model_validate({"head": self.head, "output": self.output, **part})

    def _add_scores(self, expected: Array, actual: Array) -> None:
        """NaN is nobody's best: a frame of garbage agrees with nothing."""
        wanted = expected.astype(np.float64)
        found = np.where(np.isfinite(actual), actual, -GARBAGE).astype(np.float64)
        whole = np.isfinite(actual).all(axis=1)
        best, rows = wanted.argmax(axis=1), np.arange(len(wanted))
        self._agreed += int(((found.argmax(axis=1) == best) & whole).sum())
        margins = []
        for scores in (wanted, found):
            others = scores.copy()
            others[rows, best] = -np.inf
            rival = others.max(axis=1) if scores.shape[1] > 1 else np.zeros(len(scores))
            margins.append(scores[rows, best] - rival)
        shipped = np.where(whole, margins[1], -GARBAGE)
        self._margins += margins[0].sum(), shipped.sum()
        self._smallest = min(self._smallest, float(shipped.min()))

    def _add_labels(self, expected: NDArray[np.int64], actual: NDArray[np.int64]) -> None:
        """What is no class falls into a last column of its own: missed where it was, claimed nowhere."""
        if not self._fixed:
            self._grow(max(int(expected.max()), min(int(actual.max()), MOST_CLASSES - 1)) + 1)
        size = len(self._confusion)
        if int(expected.min()) < 0 or int(expected.max()) >= size:
            raise ValueError(f"{self.head}: float32 labels from {expected.min()} to {expected.max()}, of {size} classes")
        found = np.where((actual < 0) | (actual >= size), size, actual)
        pairs = (expected * (size + 1) + found).ravel()
        self._confusion += np.bincount(pairs, minlength=size * (size + 1)).reshape(size, size + 1)

    def _grow(self, size: int) -> None:
        before, old = self._confusion, len(self._confusion)
        if size > old:
            self._confusion = np.zeros((size, size + 1), np.int64)
            self._confusion[:old, :old], self._confusion[:old, -1] = before[:, :-1], before[:, -1]

    def _masks(self) -> Masks:
        both = np.diag(self._confusion).astype(float)
        union = self._confusion[:, :-1].sum(axis=0) + self._confusion.sum(axis=1) - both
        iou = tuple(None if not whole else round(float(part / whole), 6) for part, whole in zip(both, union, strict=True))
        return Masks(
            pixel_agreement=round(float(both.sum() / self._confusion.sum()), 6),
            mean_iou=round(float(np.mean([value for value in iou if value is not None])), 6),
            iou=iou,
        )

    def _add_depth(self, expected: Array, actual: Array) -> None:
        wanted = expected.astype(np.float64)
        size = np.maximum(np.abs(wanted), np.finfo(np.float32).tiny)
        with np.errstate(invalid="ignore", over="ignore"):
            lost = np.abs(actual.astype(np.float64) - wanted)
        lost = np.where(np.isfinite(lost), lost, GARBAGE * size)
        self._relative += float(np.minimum(lost / size, GARBAGE).sum())
        self._squared += float(np.square(lost).sum())
        self._count += lost.size

    def _add_values(self, expected: Array, actual: Array) -> None:
        found = cosines(np.asarray(expected, np.float32), np.asarray(actual, np.float32))
        self._cosine_sum += float(found.sum())
        self._cosine_min = min(self._cosine_min, float(found.min()))
        self._count += found.size


def shortfalls(found: Sequence[TaskFidelity], budgets: TaskBudgets) -> tuple[str, ...]:
    """What is beyond a budget, in words; nothing if all is within."""
    said = []
    for entry in found:
        low = budgets.min_agreement
        if entry.classes and low is not None and entry.classes.agreement < low:
            said.append(f"{entry.head}: the top class agrees on {entry.classes.agreement:.2%} of the frames (at least {low:.2%})")
        low = budgets.min_iou
        if entry.masks and low is not None and entry.masks.mean_iou < low:
            said.append(f"{entry.head}: mean IoU {entry.masks.mean_iou:.4f} (at least {low:g})")
        high = budgets.max_depth_error
        if entry.depths and high is not None and entry.depths.relative_error > high:
            said.append(f"{entry.head}: relative depth error {entry.depths.relative_error:.4f} (at most {high:g})")
    return tuple(said)


def meters(heads: Sequence[HeadFacts]) -> dict[str, TaskMeter]:
    """A meter for each output of each head, by the output's name."""
    return {name: TaskMeter(name, head.output, classes=_labels(head)) for head in heads for name in head.outputs}


def _labels(head: HeadFacts) -> int:
    return len(head.classes) if head.output == "labels" else 0


def _best(logits: Array) -> NDArray[np.int64]:
    """[N, C, H, W] to labels; -1 where a logit is not finite."""
    finite = np.isfinite(logits).all(axis=1)
    labels = np.where(np.isfinite(logits), logits, -np.inf).argmax(axis=1)
    return np.asarray(np.where(finite, labels, -1), np.int64)


def _whole(labels: Array) -> NDArray[np.int64]:
    """Labels that runtimes hand over as floats, rounded; -1 where they are not finite or below zero."""
    found = np.where(np.isfinite(labels), labels, -1)
    return np.asarray(np.clip(np.rint(found), -1, 2**31), np.int64)


def _rounded(value: Any) -> float:
    return float(f"{float(value):.6g}")
