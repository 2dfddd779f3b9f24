"""How far a board's engine may be from float32 in what heads give.

What an engine loses of the features is bounded by the user's budget. How much of that a head makes more, or less, of is the
head's own: a mask loses pixels along its edges, a depth map where it is steep. So a bound is what the same graph loses as it is
imitated here, on the same golden frames, twice over, and a machine's own rounding beside it. An engine that computes something
else, a map resized by other rules or a convolution miscompiled, is far beyond that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray

from edgec.artefact.tolerances import limits
from edgec.onboard import vectorised
from edgec.onboard.tasks import FEATURES as FEATURES
from edgec.onboard.tasks import LABELS
from edgec.records.manifest import Tensor

TIMES = 2.0
"""How many times what the imitation loses an engine may lose."""
MOST = 1e6

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Bound:
    """Of one output, in any golden frame, beside float32: of labels the least share of pixels that are the same; of others the
    least cosine of the whole output, and the largest difference as a share of the output's largest value."""

    agreement: float | None = None
    cosine: float | None = None
    difference: float | None = None

    def said(self) -> dict[str, float]:
        """For a file."""
        return {name: round(value, 6) for name, value in asdict(self).items() if value is not None}


def head_bounds(outputs: Sequence[Tensor], precision: str, expected: Arrays, imitated: Arrays) -> dict[str, Bound]:
    """Of each output that a head gives, in a graph of this precision. `expected` are float32's, [M, …] by output, `imitated` what
    the graph makes of the same frames here."""
    return {
        output.name: _bound(output.role, precision, expected[output.name], imitated[output.name])
        for output in outputs
        if output.role != FEATURES
    }


def _bound(role: str, precision: str, expected: NDArray[Any], imitated: NDArray[Any]) -> Bound:
    rounded, frames = limits(precision), range(len(expected))
    if role == LABELS:
        lost = 1 - min(vectorised.agreement(expected[frame], imitated[frame]) for frame in frames)
        return Bound(agreement=max(0.0, 1 - TIMES * lost - (1 - rounded.labels)))
    cosine = min(float(vectorised.vectors(expected[frame], imitated[frame], expected[frame].size)[0]) for frame in frames)
    difference = vectorised.difference(expected, imitated) / vectorised.largest(expected)
    return Bound(
        cosine=max(-1.0, 1 - TIMES * (1 - cosine) - (1 - rounded.cosine)),
        # What is not finite the board refuses, whatever its bound.
        difference=min(TIMES * difference + rounded.difference, MOST),
    )
