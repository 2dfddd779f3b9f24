"""One output of a re-run beside what was recorded of it, and beside float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.artefact.reading import OpenSize
from edgec.artefact.tolerances import Allowed
from edgec.onboard.vectorised import cosines
from edgec.records.manifest import Tensor

Array = NDArray[Any]
FEATURES = "features"
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class OutputCheck:
    """One output against what was recorded: the largest absolute `difference` to the shipped features and the smallest `cosine`.

    `frame`, counted from 0, is where the difference is largest or, if that is tolerated, where the cosine is smallest. The
    last two are cosines to the features of the float32 PyTorch model, over all feature vectors. What a head gives is one vector a
    frame. Of labels, `difference` is the share of a frame's pixels that are others, and `cosine` and the last two are shares
    of pixels that are the same.
    """

    name: str
    role: str
    """As `edgec.records.manifest.Tensor.role`."""
    size: str
    """Of the frames, where the artefact takes several."""
    variant: str
    """Of a board's artefact, the graph's precision, if it is not the entry."""
    difference: float
    tolerance: float
    frame: int
    cosine: float
    min_cosine: float
    finite: bool
    float32_cosine_mean: float
    float32_cosine_min: float

    @property
    def passed(self) -> bool:
        return self.finite and self.difference <= self.tolerance and self.cosine >= self.min_cosine


def check_outputs(
    size: OpenSize, actual: Mapping[str, Array], shipped: Mapping[str, Array], most: Allowed, *, at: str = "", variant: str = ""
) -> list[OutputCheck]:
    """All outputs of the golden frames of one size. What heads give may move as far as the features that they are made of do."""
    outputs, float32 = size.facts.outputs, size.golden.expected_float32
    moved = [_moved(actual[each.name], shipped[each.name]) for each in outputs if each.role == FEATURES]
    checks = []
    for output in outputs:
        bounds = most if output.role == FEATURES else most.of_head(max(moved, default=None))
        arrays = actual[output.name], shipped[output.name], float32[output.name]
        check = _check_labels if output.role == "labels" else _check
        checks.append(check(output, at, variant, *arrays, bounds))
    return checks


def _moved(actual: Array, shipped: Array) -> float:
    """The largest difference as a share of the largest value; infinite for what is not finite."""
    with np.errstate(all="ignore"):
        share = float(np.abs(actual.astype(np.float64) - shipped).max()) / max(_largest(shipped), _TINY)
    return share if np.isfinite(share) else np.inf


def _largest(values: Array) -> float:
    return float(np.abs(values).max())


def _check_labels(
    output: Tensor, size: str, variant: str, actual: Array, shipped: Array, float32: Array, most: Allowed
) -> OutputCheck:
    def same(expected: Array) -> NDArray[np.float64]:
        return np.asarray((actual == expected).reshape(len(actual), -1).mean(axis=1))

    to_shipped, to_float32 = same(shipped), same(float32)
    return OutputCheck(
        name=output.name,
        role="labels",
        size=size,
        variant=variant,
        difference=float(1 - to_shipped.min()),
        tolerance=1 - most.labels,
        frame=int(to_shipped.argmin()),
        cosine=float(to_shipped.min()),
        min_cosine=most.labels,
        finite=True,
        float32_cosine_mean=float(to_float32.mean()),
        float32_cosine_min=float(to_float32.min()),
    )


def _check(output: Tensor, size: str, variant: str, actual: Array, shipped: Array, float32: Array, most: Allowed) -> OutputCheck:
    if output.role != FEATURES:
        # A row of a depth map, or one pixel's logits, is no vector whose direction means something.
        actual, shipped, float32 = (each.reshape(len(each), -1) for each in (actual, shipped, float32))
    with np.errstate(invalid="ignore", over="ignore"):
        by_frame = np.abs(actual.astype(np.float64) - shipped).reshape(len(shipped), -1).max(axis=1)
    by_frame = np.where(np.isfinite(by_frame), by_frame, np.inf)
    to_shipped, to_float32 = cosines(shipped, actual), cosines(float32, actual)
    by_frame_cosine = to_shipped.reshape(len(shipped), -1).min(axis=1)
    tolerance = most.difference * _largest(shipped)
    return OutputCheck(
        name=output.name,
        role=output.role,
        size=size,
        variant=variant,
        difference=float(by_frame.max()),
        tolerance=tolerance,
        frame=int(by_frame.argmax() if by_frame.max() > tolerance else by_frame_cosine.argmin()),
        cosine=float(to_shipped.min()),
        min_cosine=most.cosine,
        finite=bool(np.isfinite(actual).all()),
        float32_cosine_mean=float(to_float32.mean()),
        float32_cosine_min=float(to_float32.min()),
    )
