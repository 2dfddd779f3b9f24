"""What an artefact's heads give for frames, float32 beside shipped, ready to be drawn. numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from edgec.onboard.figures import kept
from edgec.records.fidelity import HeadFacts
from edgec.records.reading import printable
from edgec.report.decisions import class_name
from edgec.report.overlays import Bytes, depth_range, draw_depth, draw_differences, draw_labels, fitted, ramp

Array = NDArray[Any]
CAPTIONS: Final = ("frame", "float32", "shipped", "difference")
LARGEST_ERROR: Final = 0.1
"""The relative error of a depth at which the difference has its brightest colour: the same in every picture, so that they
compare."""
_ROLES: Final[Mapping[str, Literal["labels", "depth"]]] = {"labels": "labels", "logits": "labels", "depth": "depth"}


@dataclass(frozen=True)
class Maps:
    """A head's label maps, int64 [M, H, W], or depth maps, float [M, H, W], of M frames."""

    output: str
    kind: Literal["labels", "depth"]
    classes: tuple[str, ...]
    float32: Array
    shipped: Array

    @property
    def range(self) -> tuple[float, float]:
        """The scale of depths: one for all frames and both sides."""
        return depth_range([self.float32, self.shipped])

    @property
    def present(self) -> list[int]:
        """The labels that occur."""
        return [int(label) for label in np.unique(np.concatenate([self.float32.ravel(), self.shipped.ravel()]))]


@dataclass(frozen=True)
class Scores:
    """A classifier's scores, float [M, C], of M frames."""

    output: str
    classes: tuple[str, ...]
    float32: Array
    shipped: Array


@dataclass(frozen=True)
class Headed:
    """M frames, uint8 [M, H, W, 3], and what the heads say of them. `undrawn` says why outputs
    that are neither maps nor scores are not drawn."""

    names: tuple[str, ...]
    frames: Bytes
    maps: tuple[Maps, ...]
    scores: tuple[Scores, ...]
    undrawn: tuple[str, ...] = ()


def headed(
    names: Sequence[str],
    frames: Bytes,
    heads: Sequence[HeadFacts],
    float32: Mapping[str, Array],
    shipped: Mapping[str, Array],
) -> Headed:
    """From the outputs of both by name, on the same frames, shaped as `edgec.heads.types.Output` says."""
    maps: list[Maps] = []
    scores: list[Scores] = []
    undrawn: list[str] = []
    for head in heads:
        for name in head.outputs:
            ours, theirs = float32[name], shipped[name]
            kind = _ROLES.get(head.output)
            planes = [plane for each in (ours, theirs) if kind and (plane := _planes(each, kind)) is not None]
            if kind is not None and len(planes) == 2:
                maps.append(Maps(name, kind, head.classes, planes[0], planes[1]))
            elif head.output == "scores" and ours.ndim == 2:
                scores.append(Scores(name, head.classes, ours, theirs))
            else:
                shape = " x ".join(map(str, ours.shape[1:]))
                undrawn.append(f"{printable(name)} is not drawn: {head.output} of {shape} a frame are neither mask nor depth map")
    return Headed(tuple(names), frames, tuple(maps), tuple(scores), tuple(undrawn))


def _planes(values: Array, kind: Literal["labels", "depth"]) -> Array | None:
    """[M, H, W] of what a head gives; logits become labels, -1 where they are not finite. None for another shape."""
    if kind == "labels" and values.ndim == 4:
        finite = np.isfinite(values).all(axis=1)
        return np.where(finite, np.where(np.isfinite(values), values, -np.inf).argmax(axis=1), -1)
    if values.ndim == 4 and 1 in (values.shape[1], values.shape[3]):
        values = values[:, 0] if values.shape[1] == 1 else values[..., 0]
    if values.ndim != 3:
        return None
    return values.astype(np.int64) if kind == "labels" else values


def panels(maps: Maps, frame: Bytes, index: int, low: float, high: float) -> tuple[Bytes, Bytes, Bytes]:
    """Float32, shipped and where they differ, each over the frame and of its size. `low` and `high` are the maps' `range`."""
    ours, theirs = maps.float32[index], maps.shipped[index]
    if maps.kind == "labels":
        count = len(maps.classes)
        return draw_labels(frame, ours, count), draw_labels(frame, theirs, count), draw_differences(frame, ours != theirs)
    lost = np.minimum(relative_error(ours, theirs), LARGEST_ERROR)
    return (
        draw_depth(frame, ours, low, high),
        draw_depth(frame, theirs, low, high),
        ramp(fitted(lost, *frame.shape[:2]), 0, LARGEST_ERROR),
    )


def relative_error(ours: Array, theirs: Array) -> NDArray[np.float64]:
    """|shipped - float32| / |float32|, by pixel; infinite where a depth is not finite."""
    with np.errstate(all="ignore"):
        error = np.abs(theirs.astype(np.float64) - ours) / np.maximum(np.abs(ours.astype(np.float64)), np.finfo(np.float32).tiny)
    return np.where(np.isfinite(error), error, np.inf)


def figures(maps: Maps, index: int) -> str:
    """Of one frame, in words."""
    ours, theirs = maps.float32[index], maps.shipped[index]
    if maps.kind == "depth":
        lost = relative_error(ours, theirs)
        return f"mean depth error {lost.mean():.3g} of the depth, largest {lost.max():.3g}"
    alike = ours == theirs
    unions = {int(label): int(((ours == label) | (theirs == label)).sum()) for label in np.unique(ours)}
    iou = {label: int((alike & (ours == label)).sum()) / union for label, union in unions.items()}
    label = min(iou, key=lambda index_of: iou[index_of])
    name = class_name(maps.classes, label) if label >= 0 else f"no class ({label})"
    differing = int((~alike).sum())
    return f"{differing} of {alike.size} pixels differ ({differing / alike.size:.3%}); lowest IoU {kept(iou[label])}, {name}"


def verdict(scores: Scores, index: int) -> tuple[str, bool]:
    """Of one frame: both classes in words, and whether they are the same."""
    chosen = []
    for values in (scores.float32[index], scores.shipped[index]):
        if not np.isfinite(values).all():
            chosen.append(("scores that are not finite", -1))
            continue
        order = np.argsort(-values, kind="stable")
        margin = f", margin {values[order[0]] - values[order[1]]:.3g}" if len(order) > 1 else ""
        chosen.append((f"{class_name(scores.classes, int(order[0]))} ({values[order[0]]:.4g}{margin})", int(order[0])))
    (ours, first), (theirs, second) = chosen
    same = first == second != -1
    return f"{printable(scores.output)}: float32 {ours}, shipped {theirs}{'' if same else ' — another class'}", same
