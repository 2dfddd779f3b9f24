"""What heads found in one frame, in words and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.records.fidelity import HeadFacts
from edgec.records.reading import printable

Values = NDArray[Any]


@dataclass(frozen=True)
class ClassFound:
    """Of `scores`: the top class, its share (by softmax, unless the scores are shares), and its score less the next one's. `name`
    is None if the scores are not finite, the margin if there is one class only."""

    output: str
    name: str | None
    index: int
    share: float
    margin: float | None

    def words(self) -> str:
        if self.name is None:
            return f"{printable(self.output)}: scores are not finite"
        margin = "" if self.margin is None else f" (margin {self.margin:.2f})"
        return f"{printable(self.output)}: {printable(self.name)} {_percent(self.share)}{margin}"

    def plain(self) -> dict[str, Any]:
        return {"class": self.name, "index": self.index, "share": self.share, "margin": self.margin}


@dataclass(frozen=True)
class MaskFound:
    """Of `labels` and `logits`: each class's share of the frame's pixels, in the order of the classes."""

    output: str
    shares: Mapping[str, float]

    def words(self) -> str:
        ordered = sorted(self.shares.items(), key=lambda item: -item[1])
        told = [f"{printable(name)} {_percent(share)}" for name, share in ordered if share > 0]
        more = f", and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
        return f"{printable(self.output)}: {', '.join(told[:_TOLD])}{more}"

    def plain(self) -> dict[str, Any]:
        return {"shares": dict(self.shares)}


@dataclass(frozen=True)
class DepthFound:
    """Of `depth`, in the head's own unit, over the pixels that are finite; None where none is."""

    output: str
    low: float | None
    median: float | None
    high: float | None
    finite: float
    """Their share."""

    def words(self) -> str:
        if self.low is None or self.median is None or self.high is None:
            return f"{printable(self.output)}: no depth is finite"
        holes = "" if self.finite == 1 else f", {_percent(1 - self.finite)} not finite"
        return f"{printable(self.output)}: {self.low:.3g} to {self.high:.3g}, median {self.median:.3g}{holes}"

    def plain(self) -> dict[str, Any]:
        return {"min": self.low, "median": self.median, "max": self.high, "finite_share": self.finite}


@dataclass(frozen=True)
class ValuesFound:
    """Of `values`, which mean what their head makes them mean."""

    output: str
    shape: tuple[int, ...]
    low: float | None
    high: float | None

    def words(self) -> str:
        shape = "x".join(map(str, self.shape))
        if self.low is None or self.high is None:
            return f"{printable(self.output)}: {shape} values, none finite"
        return f"{printable(self.output)}: {shape} values, {self.low:.3g} to {self.high:.3g}"

    def plain(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "min": self.low, "max": self.high}


Result = ClassFound | MaskFound | DepthFound | ValuesFound
_TOLD = 4
_COUNTABLE = 1 << 16
_ONE = 1e-3
"""How near to 1 shares sum up in fp16."""


def class_name(classes: Sequence[str], index: int) -> str:
    """Its number where the head has no name for it."""
    return classes[index] if 0 <= index < len(classes) else str(index)


def found(heads: Sequence[HeadFacts], outputs: Mapping[str, Values]) -> tuple[Result, ...]:
    """One for each output of each head, of one frame's outputs."""
    return tuple(_found(head, name, outputs[name]) for head in heads for name in head.outputs)


def counts(labels: NDArray[np.int32]) -> dict[int, int]:
    """Pixels by label, of those that are there."""
    if labels.size and labels.min() >= 0 and labels.max() < _COUNTABLE:
        by_label = np.bincount(labels.ravel())  # sorting a whole frame, as np.unique does, takes tens of milliseconds
        return {int(index): int(by_label[index]) for index in by_label.nonzero()[0]}
    indices, pixels = np.unique(labels, return_counts=True)
    return dict(zip(indices.tolist(), pixels.tolist(), strict=True))


def label_map(kind: str, values: Values) -> NDArray[np.int32]:
    """Labels [H, W] as they are, and of logits [C, H, W] the greatest."""
    return (values.argmax(axis=0) if kind == "logits" else values).astype(np.int32)


def _found(head: HeadFacts, name: str, values: Values) -> Result:
    if head.output == "scores" and values.ndim == 1:
        return _classed(name, head.classes, values)
    if (head.output == "labels" and values.ndim == 2) or (head.output == "logits" and values.ndim == 3):
        return _masked(name, head.classes, label_map(head.output, values))
    finite = values[np.isfinite(values)]
    if head.output == "depth":
        if not finite.size:
            return DepthFound(name, None, None, None, 0.0)
        low, high = float(finite.min()), float(finite.max())
        return DepthFound(name, low, float(np.median(finite)), high, finite.size / values.size)
    ends = (float(finite.min()), float(finite.max())) if finite.size else (None, None)
    return ValuesFound(name, values.shape, *ends)


def _classed(name: str, classes: Sequence[str], scores: Values) -> ClassFound:
    exact = scores.astype(np.float64)
    top = int(exact.argmax())
    if not np.isfinite(exact).all():
        return ClassFound(name, None, top, 0.0, None)
    # A head that ends in its own softmax has said the shares already.
    already = len(exact) > 1 and exact.min() >= 0 and abs(exact.sum() - 1) < _ONE
    powers = exact / exact[top] if already else np.exp(exact - exact[top])
    margin = float(exact[top] - np.delete(exact, top).max()) if len(exact) > 1 else None
    return ClassFound(name, class_name(classes, top), top, float(1 / powers.sum()), margin)


def _masked(name: str, classes: Sequence[str], labels: NDArray[np.int32]) -> MaskFound:
    by_index = counts(labels)
    every = [*range(len(classes)), *(index for index in by_index if not 0 <= index < len(classes))]
    return MaskFound(name, {class_name(classes, index): by_index.get(index, 0) / labels.size for index in every})


def _percent(share: float) -> str:
    """Never rounded to a certainty that is none."""
    text = f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        return "> 99.9 %"
    if text == "0.0" and share > 0:
        return "< 0.1 %"
    return f"{text} %"
