"""How much of the features and of the heads' decisions a compute unit reproduces: edgec's own verdict, and how near it comes to
what edgec's evaluator computed of the same package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgec_onboard import vectorised
from edgec_onboard.documents import Tensor
from edgec_onboard.judging import Bound, Judge, Verdict, misfits
from edgec_onboard.tasks import FEATURES, LABELS
from numpy.typing import NDArray

from edgec_mac.artefact import Artefact

Features = Mapping[str, NDArray[Any]]
"""By output: float32, or int32 where a head gives labels."""


@dataclass(frozen=True)
class Parity:
    """`to_shipped` is, beside what edgec's evaluator computed of the same package, the worst cosine of any feature vector and of
    any frame's output of a head, `labels_as_shipped` the smallest share of a frame's labels. Both are absent where there are none
    to compare."""

    verdict: Verdict
    to_shipped: float | None = None
    labels_as_shipped: float | None = None

    @property
    def compared(self) -> bool:
        return self.verdict.figures is not None or bool(self.verdict.tasks)


def judge(artefact: Artefact, expected: Features, shipped: Features, actual: Features) -> Parity:
    """Of all golden frames, M along the first axis of every array. What heads give is held against what was recorded."""
    outputs, count = artefact.outputs, artefact.golden_count
    judge = Judge(
        outputs,
        vectorised,
        gate=artefact.gate,
        budget=artefact.budget,
        bounds={output.name: _bound(artefact, output) for output in outputs},
        largest={output.name: vectorised.largest(shipped[output.name]) for output in outputs},
    )
    wrong = misfits(
        {output.name: ((count, *output.shape[1:]), output.dtype) for output in outputs},
        {name: (values.shape, str(values.dtype)) for name, values in actual.items()},
    )
    if wrong:
        return Parity(judge.verdict(wrong))
    for index in range(count):
        judge.add(index, *({name: values[index] for name, values in each.items()} for each in (expected, actual, shipped)))
    shares = {output.name: _alike(output, shipped[output.name], actual[output.name]) for output in outputs}
    labels = {output.name for output in outputs if output.role == LABELS}
    return Parity(
        judge.verdict(),
        min((share for name, share in shares.items() if name not in labels), default=None),
        min((share for name, share in shares.items() if name in labels), default=None),
    )


def _bound(artefact: Artefact, output: Tensor) -> Bound:
    if output.role == LABELS:
        return {"agreement": artefact.min_agreement}
    return {"cosine": artefact.min_cosine, "difference": artefact.relative_tolerance}


def _alike(output: Tensor, shipped: NDArray[Any], actual: NDArray[Any]) -> float:
    """The smallest cosine of a feature vector, or of a frame's output where a head made it; of labels the smallest share of a
    frame's that are the same."""
    if output.role == LABELS:
        return min(vectorised.agreement(one, other) for one, other in zip(shipped, actual, strict=True))
    width = output.shape[-1] if output.role == FEATURES else int(np.prod(output.shape[1:]))
    return float(vectorised.vectors(shipped, actual, width).min())
