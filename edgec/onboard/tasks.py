"""How much of the heads' decisions survived: classes, masks and depths of float32 compared with those of what ships.

Results are collected frame by frame, in memory that does not grow with the frames, and returned as reports have them
(edgec/records/fidelity.py, TaskFidelity).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .arithmetic import Arithmetic, Pairs
from .figures import kept, percentage

FEATURES = "features"
LABELS = "labels"
PARTS = {"scores": "classes", LABELS: "masks", "logits": "masks", "depth": "depths", "values": "values"}
"""Which figures are measured for each kind of output. The output of one frame is scores [C], labels [H, W], logits [C, H, W],
depth [H, W] or values [..., K]."""


class Meter:
    """Collects figures of one output. `classes` is the number of classes if the output holds labels: larger labels are garbage.
    If it is 0, the labels in the frames decide."""

    def __init__(self, head: str, role: str, arithmetic: Arithmetic, *, classes: int = 0) -> None:
        self.head, self.role = head, role
        self._arithmetic = arithmetic
        self._classes = classes if role == LABELS else 0
        self._frames = self._agreed = self._count = 0
        self._sums = [0.0, 0.0]
        self._smallest = math.inf
        self._pairs: Pairs = Counter()

    def add(self, expected: Any, actual: Any, frames: int, shape: Sequence[int]) -> None:
        """Add outputs of `frames` frames, each of this shape. Raises `ValueError` if a label of float32 is not a class."""
        self._frames += frames
        arithmetic = self._arithmetic
        if self.role == "scores":
            scores = arithmetic.scores(expected, actual, shape[0])
            self._agreed += scores.agreed
            self._sum(scores.margins_expected, scores.margins_actual, scores.smallest)
        elif self.role == LABELS:
            self._pair(arithmetic.labels(expected, actual, self._classes))
        elif self.role == "logits":
            self._pair(arithmetic.logits(expected, actual, shape[0], math.prod(shape[1:])))
        elif self.role == "depth":
            depths = arithmetic.depths(expected, actual)
            self._sum(depths.relative, depths.squared)
            self._count += depths.pixels
        else:
            cosines = arithmetic.vector_cosines(expected, actual, shape[-1])
            self._sum(arithmetic.total(cosines), 0.0, arithmetic.finite(cosines)[1])
            self._count += len(cosines)

    def summary(self) -> dict[str, Any]:
        """The figures of everything that was added. Raises `ValueError` if nothing was."""
        if not self._frames:
            raise ValueError(f"{self.head}: no frames")
        first, second = self._sums
        if self.role == "scores":
            figures: dict[str, Any] = {
                "agreement": round(self._agreed / self._frames, 6),
                "margin_float32": _rounded(first / self._frames),
                "margin_shipped": _rounded(second / self._frames),
                "smallest_margin": _rounded(self._smallest),
            }
        elif self.role in (LABELS, "logits"):
            figures = self._masks()
        elif self.role == "depth":
            figures = {"relative_error": _rounded(first / self._count), "rmse": _rounded((second / self._count) ** 0.5)}
        else:
            figures = {"cosine_mean": round(first / self._count, 6), "cosine_min": round(self._smallest, 6)}
        return {"head": self.head, "output": self.role, PARTS[self.role]: figures}

    def _sum(self, first: float, second: float, smallest: float = math.inf) -> None:
        self._sums = [self._sums[0] + first, self._sums[1] + second]
        self._smallest = min(self._smallest, smallest)

    def _pair(self, pairs: Pairs) -> None:
        lowest, highest = min(one for one, _ in pairs), max(one for one, _ in pairs)
        if lowest < 0 or (self._classes and highest >= self._classes):
            known = self._classes or highest + 1
            raise ValueError(f"{self.head}: float32 labels from {lowest} to {highest}, of {known} classes")
        self._pairs.update(pairs)

    def _masks(self) -> dict[str, Any]:
        """A label of no class counts as missed for the expected class, and against no other class."""
        size = self._classes or max(max(pair) for pair in self._pairs) + 1
        both, expected, claimed = [0] * size, [0] * size, [0] * size
        for (one, other), count in self._pairs.items():
            expected[one] += count
            if 0 <= other < size:
                claimed[other] += count
                both[one] += count if one == other else 0
        unions = [expected[index] + claimed[index] - both[index] for index in range(size)]
        iou = [round(part / union, 6) if union else None for part, union in zip(both, unions)]
        shares = [value for value in iou if value is not None]
        return {
            "pixel_agreement": round(sum(both) / sum(expected), 6),
            "mean_iou": round(self._arithmetic.mean(shares), 6),
            "iou": iou,
        }


def headline(summary: Mapping[str, Any]) -> str:
    """The most important figure of a summary, in a few characters."""
    name = summary["head"]
    if "classes" in summary:
        return "{} agrees {}".format(name, percentage(summary["classes"]["agreement"], 1))
    if "masks" in summary:
        return "{} IoU {}".format(name, kept(summary["masks"]["mean_iou"]))
    if "depths" in summary:
        return "{} error {:.4f}".format(name, summary["depths"]["relative_error"])
    return "{} cosine {}".format(name, kept(summary["values"]["cosine_mean"]))


def shortfalls(summaries: Sequence[Mapping[str, Any]], budget: Mapping[str, float | None]) -> list[str]:
    """What is beyond a budget for heads, a sentence each. `budget` has `min_agreement` for classes, `min_iou` for the mean over a
    mask's classes, `max_depth_error` for the relative error, and `min_cosine` for the mean of vectors; figures whose bound is
    None or missing are not checked."""
    problems = []
    for summary in summaries:
        name, low = summary["head"], budget.get("min_agreement")
        if summary.get("classes") and low is not None and summary["classes"]["agreement"] < low:
            share = summary["classes"]["agreement"]
            problems.append(f"{name}: the top class agrees on {percentage(share)} of the frames (at least {low:.2%})")
        low = budget.get("min_iou")
        if summary.get("masks") and low is not None and summary["masks"]["mean_iou"] < low:
            problems.append(f"{name}: mean IoU {kept(summary['masks']['mean_iou'])} (at least {low:g})")
        high = budget.get("max_depth_error")
        if summary.get("depths") and high is not None and summary["depths"]["relative_error"] > high:
            problems.append(f"{name}: relative depth error {summary['depths']['relative_error']:.4f} (at most {high:g})")
        low = budget.get("min_cosine")
        if summary.get("values") and low is not None and summary["values"]["cosine_mean"] < low:
            problems.append(f"{name}: mean cosine {kept(summary['values']['cosine_mean'])} (at least {low:g})")
    return problems


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
