"""The golden frames run again, and each output compared with what was recorded, and with float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.artefact.reading import OpenSize
from edgec.artefact.tolerances import Allowed
from edgec.batches import batches
from edgec.errors import VerificationError
from edgec.lowering.base import Features, Runner
from edgec.onboard.tasks import FEATURES, LABELS
from edgec.onboard.vectorised import cosines, difference, largest
from edgec.records.manifest import Tensor
from edgec.records.reading import printable

Array = NDArray[Any]


@dataclass(frozen=True)
class OutputCheck:
    """One output compared with what was recorded: the largest absolute `difference` to the shipped features and the smallest
    `cosine`.

    `frame`, counted from 0, is where the difference is largest or, if that is tolerated, where the cosine is smallest. The last
    two fields are cosines to the float32 PyTorch model's features, over all feature vectors. A head's output is one vector per
    frame. For labels, `difference` is the share of a frame's pixels that differ, and `cosine` and the last two are shares that
    agree.
    """

    name: str
    role: str
    """As `edgec.records.manifest.Tensor.role`."""
    size: str
    """Of the frames; empty if the artefact takes only one."""
    variant: str
    """The precision of the graph that a board may choose; empty for the artefact's entry."""
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
        """Whether it is finite and within both limits."""
        return self.finite and self.difference <= self.tolerance and self.cosine >= self.min_cosine


def check_outputs(
    size: OpenSize, actual: Mapping[str, Array], shipped: Mapping[str, Array], most: Allowed, *, at: str = "", variant: str = ""
) -> list[OutputCheck]:
    """Compare all outputs [M, …] of one size's golden frames. A head's output may move only as far as the features that it is
    computed from did."""
    outputs, float32 = size.facts.outputs, size.golden.expected_float32
    features = [(actual[output.name], shipped[output.name]) for output in outputs if output.role == FEATURES]
    moved = [difference(one, other) / largest(other) for one, other in features]
    checks = []
    for output in outputs:
        bounds = most if output.role == FEATURES else most.of_head(max(moved, default=None))
        arrays = actual[output.name], shipped[output.name], float32[output.name]
        check = _check_labels if output.role == LABELS else _check
        checks.append(check(output, at, variant, *arrays, bounds))
    return checks


def rerun(runner: Runner, size: OpenSize) -> Features:
    """Run all golden frames of a size, in batches of the artefact's own; outputs [M, …] by name. Raises `VerificationError` for
    an output that is missing or of another shape."""
    parts: dict[str, list[Array]] = {output.name: [] for output in size.facts.outputs}
    for batch, held in batches(size.golden.frames, size.facts.input.shape[0]):
        features = runner(batch)
        for output in size.facts.outputs:
            actual = features.get(output.name)
            if actual is None or actual.shape != output.shape:
                raise VerificationError(
                    f"Output {printable(output.name)} is {'missing' if actual is None else 'of another shape'}.",
                    evidence=(
                        f"recorded: {output.shape}; here: {None if actual is None else actual.shape}",
                        f"the model's outputs: {', '.join(features)}",
                    ),
                    remedy="build the artefact again",
                )
            parts[output.name].append(actual[: held.stop - held.start])
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _check_labels(
    output: Tensor, size: str, variant: str, actual: Array, shipped: Array, float32: Array, most: Allowed
) -> OutputCheck:
    def same(expected: Array) -> NDArray[np.float64]:
        return np.asarray((actual == expected).reshape(len(actual), -1).mean(axis=1))

    to_shipped, to_float32 = same(shipped), same(float32)
    return OutputCheck(
        name=output.name,
        role=LABELS,
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
        # The direction of a row of a depth map, or of one pixel's logits, means nothing.
        actual, shipped, float32 = (values.reshape(len(values), -1) for values in (actual, shipped, float32))
    with np.errstate(invalid="ignore", over="ignore"):
        by_frame = np.abs(actual.astype(np.float64) - shipped).reshape(len(shipped), -1).max(axis=1)
    by_frame = np.where(np.isfinite(by_frame), by_frame, np.inf)
    to_shipped, to_float32 = cosines(shipped, actual), cosines(float32, actual)
    by_frame_cosine = to_shipped.reshape(len(shipped), -1).min(axis=1)
    tolerance = most.difference * largest(shipped)
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
