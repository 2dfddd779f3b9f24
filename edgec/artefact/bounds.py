"""How far a board's engine may be from float32 in the outputs of heads.

The user's budget limits what an engine loses of the features. Whether a head amplifies that depends on the head: a mask loses
pixels along its edges, a depth map where it is steep. So a bound allows twice what the same graph loses on the same golden frames
when it is imitated here, plus what a machine's own rounding explains. An engine that computes something else (a map that is
resized by other rules, a convolution that is compiled wrongly) is far beyond that.
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
"""An engine may lose this many times what the imitation loses."""
MOST = 1e6

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class HeadBound:
    """Limits for one output of a head, compared with float32, in every golden frame. For labels the least share of pixels that
    agree; for other outputs the least cosine of the whole output, and the largest difference as a share of its largest value."""

    agreement: float | None = None
    cosine: float | None = None
    difference: float | None = None

    def as_document(self) -> dict[str, float]:
        """The limits that apply, by name, as bundle.json has them."""
        return {name: round(value, 6) for name, value in asdict(self).items() if value is not None}


def head_bounds(outputs: Sequence[Tensor], precision: str, expected: Arrays, imitated: Arrays) -> dict[str, HeadBound]:
    """Limits by output of a head, for a graph of this precision. `expected` are float32's outputs [M, …] by name, `imitated` what
    the graph computes of the same frames here."""
    return {
        output.name: _bound(output.role, precision, expected[output.name], imitated[output.name])
        for output in outputs
        if output.role != FEATURES
    }


def _bound(role: str, precision: str, expected: NDArray[Any], imitated: NDArray[Any]) -> HeadBound:
    rounding, frames = limits(precision), range(len(expected))
    if role == LABELS:
        lost = 1 - min(vectorised.agreement(expected[frame], imitated[frame]) for frame in frames)
        return HeadBound(agreement=max(0.0, 1 - TIMES * lost - (1 - rounding.labels)))
    cosine = min(float(vectorised.vector_cosines(expected[frame], imitated[frame], expected[frame].size)[0]) for frame in frames)
    difference = vectorised.difference(expected, imitated) / vectorised.largest(expected)
    return HeadBound(
        cosine=max(-1.0, 1 - TIMES * (1 - cosine) - (1 - rounding.cosine)),
        # The board refuses values that are not finite, whatever the bound.
        difference=min(TIMES * difference + rounding.difference, MOST),
    )
