"""How much of the features and of the heads' decisions a compute unit reproduces: edgec's verdict, and how close it is to what
edgec's evaluator computed of the same package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgec_onboard import vectorised
from edgec_onboard.documents import Tensor
from edgec_onboard.judging import HeadBound, Judge, Verdict, shape_problems
from edgec_onboard.tasks import FEATURES, LABELS
from numpy.typing import NDArray

from edgec_mac.artefact import Artefact

Features = Mapping[str, NDArray[Any]]
"""By output: float32, or int32 where a head gives labels."""


@dataclass(frozen=True)
class Parity:
    """Compared with what edgec's evaluator computed of the same package, `to_shipped` is the worst cosine of any feature vector
    and of any frame's output of a head, `labels_as_shipped` the smallest share of a frame's labels that agree. Each is None if
    there is nothing to compare."""

    verdict: Verdict
    to_shipped: float | None = None
    labels_as_shipped: float | None = None

    @property
    def compared(self) -> bool:
        """Whether outputs were compared at all: their shapes were right."""
        return self.verdict.figures is not None or bool(self.verdict.tasks)


def judge(artefact: Artefact, expected: Features, shipped: Features, actual: Features) -> Parity:
    """Judge all golden frames, M along the first axis of every array. Heads' outputs are compared with the recorded ones."""
    outputs, count = artefact.outputs, artefact.golden_count
    judge = Judge(
        outputs,
        vectorised,
        gate=artefact.gate,
        budget=artefact.budget,
        bounds={output.name: _bound(artefact, output) for output in outputs},
        largest={output.name: vectorised.largest(shipped[output.name]) for output in outputs},
    )
    wrong = shape_problems(
        {output.name: ((count, *output.shape[1:]), output.dtype) for output in outputs},
        {name: (values.shape, str(values.dtype)) for name, values in actual.items()},
    )
    if wrong:
        return Parity(judge.verdict(wrong))
    for index in range(count):
        judge.add(index, *({name: values[index] for name, values in kind.items()} for kind in (expected, actual, shipped)))
    shares = {output.name: _alike(output, shipped[output.name], actual[output.name]) for output in outputs}
    labels = {output.name for output in outputs if output.role == LABELS}
    return Parity(
        judge.verdict(),
        min((share for name, share in shares.items() if name not in labels), default=None),
        min((share for name, share in shares.items() if name in labels), default=None),
    )


def _bound(artefact: Artefact, output: Tensor) -> HeadBound:
    if output.role == LABELS:
        return {"agreement": artefact.min_agreement}
    return {"cosine": artefact.min_cosine, "difference": artefact.relative_tolerance}


def _alike(output: Tensor, shipped: NDArray[Any], actual: NDArray[Any]) -> float:
    """The smallest cosine of a feature vector, or of one frame's output of a head; for labels the smallest share of a frame's
    that agree."""
    if output.role == LABELS:
        return min(vectorised.agreement(one, other) for one, other in zip(shipped, actual, strict=True))
    width = output.shape[-1] if output.role == FEATURES else int(np.prod(output.shape[1:]))
    return float(vectorised.vector_cosines(shipped, actual, width).min())
