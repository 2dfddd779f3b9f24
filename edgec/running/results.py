"""What the outputs of heads say about one frame, in words and figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.records.fidelity import HeadFacts
from edgec.records.reading import printable

Values = NDArray[Any]


@dataclass(frozen=True)
class _OfOutput(ABC):
    """What one output of a head says about one frame."""

    output: str

    def words(self) -> str:
        """For people: the output's name and what it says."""
        return f"{printable(self.output)}: {self._words()}"

    @abstractmethod
    def _words(self) -> str: ...

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """For programs: JSON-able."""


@dataclass(frozen=True)
class TopClass(_OfOutput):
    """From `scores`: the top class, its share (by softmax, unless the scores are shares), and its score minus the next one's.
    `name` is None if the scores are not finite, `margin` if there is only one class."""

    name: str | None
    index: int
    share: float
    margin: float | None

    def _words(self) -> str:
        if self.name is None:
            return "scores are not finite"
        margin = "" if self.margin is None else f" (margin {self.margin:.2f})"
        return f"{printable(self.name)} {_percent(self.share)}{margin}"

    def to_json(self) -> dict[str, Any]:
        """With `class` for the name."""
        return {"class": self.name, "index": self.index, "share": self.share, "margin": self.margin}


@dataclass(frozen=True)
class ClassShares(_OfOutput):
    """From `labels` and `logits`: each class's share of the frame's pixels, in the order of the classes."""

    shares: Mapping[str, float]

    def _words(self) -> str:
        ordered = sorted(self.shares.items(), key=lambda item: -item[1])
        present = [f"{printable(name)} {_percent(share)}" for name, share in ordered if share > 0]
        more = f", and {len(present) - _SHOWN} more" if len(present) > _SHOWN else ""
        return f"{', '.join(present[:_SHOWN])}{more}"

    def to_json(self) -> dict[str, Any]:
        """The shares by class."""
        return {"shares": dict(self.shares)}


@dataclass(frozen=True)
class DepthRange(_OfOutput):
    """From `depth`, in the head's own unit, over the pixels that are finite; None if none is."""

    low: float | None
    median: float | None
    high: float | None
    finite: float
    """The share of pixels that are finite."""

    def _words(self) -> str:
        if self.low is None or self.median is None or self.high is None:
            return "no depth is finite"
        holes = "" if self.finite == 1 else f", {_percent(1 - self.finite)} not finite"
        return f"{self.low:.3g} to {self.high:.3g}, median {self.median:.3g}{holes}"

    def to_json(self) -> dict[str, Any]:
        """With `min` and `max` for the ends."""
        return {"min": self.low, "median": self.median, "max": self.high, "finite_share": self.finite}


@dataclass(frozen=True)
class ValueRange(_OfOutput):
    """From `values`, whose meaning only the head knows: their shape, and the range of those that are finite."""

    shape: tuple[int, ...]
    low: float | None
    high: float | None

    def _words(self) -> str:
        shape = "x".join(map(str, self.shape))
        if self.low is None or self.high is None:
            return f"{shape} values, none finite"
        return f"{shape} values, {self.low:.3g} to {self.high:.3g}"

    def to_json(self) -> dict[str, Any]:
        """With `min` and `max` for the ends."""
        return {"shape": list(self.shape), "min": self.low, "max": self.high}


Result = TopClass | ClassShares | DepthRange | ValueRange
_SHOWN = 4
_COUNTABLE = 1 << 16
_ONE = 1e-3
"""How far from 1 the sum of shares may be in fp16."""


def class_name(classes: Sequence[str], index: int) -> str:
    """The name of a class, or its number if the head has no name for it."""
    return classes[index] if 0 <= index < len(classes) else str(index)


def results_of(heads: Sequence[HeadFacts], outputs: Mapping[str, Values]) -> tuple[Result, ...]:
    """One result for each output of each head, from one frame's outputs."""
    return tuple(_result(head, name, outputs[name]) for head in heads for name in head.outputs)


def counts(labels: NDArray[np.int32]) -> dict[int, int]:
    """Pixels by label, for the labels that occur."""
    if labels.size and labels.min() >= 0 and labels.max() < _COUNTABLE:
        by_label = np.bincount(labels.ravel())  # sorting a whole frame, as np.unique does, takes tens of milliseconds
        return {int(index): int(by_label[index]) for index in by_label.nonzero()[0]}
    indices, pixels = np.unique(labels, return_counts=True)
    return dict(zip(indices.tolist(), pixels.tolist(), strict=True))


def label_map(kind: str, values: Values) -> NDArray[np.int32]:
    """Labels [H, W] unchanged; of logits [C, H, W] the class with the greatest."""
    return (values.argmax(axis=0) if kind == "logits" else values).astype(np.int32)


def _result(head: HeadFacts, name: str, values: Values) -> Result:
    if head.output == "scores" and values.ndim == 1:
        return _classed(name, head.classes, values)
    if (head.output == "labels" and values.ndim == 2) or (head.output == "logits" and values.ndim == 3):
        return _masked(name, head.classes, label_map(head.output, values))
    finite = values[np.isfinite(values)]
    if head.output == "depth":
        if not finite.size:
            return DepthRange(name, None, None, None, 0.0)
        low, high = float(finite.min()), float(finite.max())
        return DepthRange(name, low, float(np.median(finite)), high, finite.size / values.size)
    ends = (float(finite.min()), float(finite.max())) if finite.size else (None, None)
    return ValueRange(name, values.shape, *ends)


def _classed(name: str, classes: Sequence[str], scores: Values) -> TopClass:
    exact = scores.astype(np.float64)
    top = int(exact.argmax())
    if not np.isfinite(exact).all():
        return TopClass(name, None, top, 0.0, None)
    # A head that ends in a softmax of its own gives shares, not scores.
    are_shares = len(exact) > 1 and exact.min() >= 0 and abs(exact.sum() - 1) < _ONE
    powers = exact / exact[top] if are_shares else np.exp(exact - exact[top])
    margin = float(exact[top] - np.delete(exact, top).max()) if len(exact) > 1 else None
    return TopClass(name, class_name(classes, top), top, float(1 / powers.sum()), margin)


def _masked(name: str, classes: Sequence[str], labels: NDArray[np.int32]) -> ClassShares:
    by_index = counts(labels)
    every = [*range(len(classes)), *(index for index in by_index if not 0 <= index < len(classes))]
    return ClassShares(name, {class_name(classes, index): by_index.get(index, 0) / labels.size for index in every})


def _percent(share: float) -> str:
    """A share in per cent, which is not rounded to 0 or 100 unless it is exactly that."""
    text = f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        return "> 99.9 %"
    if text == "0.0" and share > 0:
        return "< 0.1 %"
    return f"{text} %"
