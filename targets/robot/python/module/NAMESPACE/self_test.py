"""Does the model compute on this machine what was recorded when it was built? The comparison and the limits are those of
`edgec verify`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contract import GOLDEN, OUTPUTS
from .errors import Error, ExitCode
from .facts import OutputFacts, Role

Array = NDArray[Any]
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class OutputCheck:
    """One output against what was recorded, over all golden frames. For labels, `difference` is the share of a frame's pixels
    that differ, and `cosine` the share that agrees."""

    name: str
    role: Role
    difference: float
    tolerance: float
    cosine: float
    least_cosine: float

    @property
    def passed(self) -> bool:
        """Whether it is within both limits."""
        return self.difference <= self.tolerance and self.cosine >= self.least_cosine

    def __str__(self) -> str:
        if self.role is Role.LABELS:
            agreed, least = 100 * self.cosine, 100 * self.least_cosine
            return f"{self.name}: {agreed:.4g} % of its labels are those recorded (at least {least:.4g} %)"
        return (
            f"{self.name}: largest difference {self.difference:.3g} (tolerance {self.tolerance:.3g}), "
            f"lowest cosine {self.cosine:.7g} (at least {self.least_cosine:.7g})"
        )


def check_outputs(actual: Sequence[Array], recorded: Sequence[Array]) -> tuple[OutputCheck, ...]:
    """All outputs [golden frames, ...], in the order of `OUTPUTS`. A head's output may move only as far as the features that it
    is computed from did."""
    pairs = list(zip(OUTPUTS, actual, recorded, strict=True))
    moved = [_difference(one, other) / _largest(other) for facts, one, other in pairs if facts.role is Role.FEATURES]
    return tuple(_check(facts, one, other, max(moved, default=None)) for facts, one, other in pairs)


def judge(checks: tuple[OutputCheck, ...]) -> tuple[OutputCheck, ...]:
    """The same checks. Raises `Error` with those that did not pass."""
    problems = [str(check) for check in checks if not check.passed]
    if problems:
        raise Error(
            ExitCode.VERIFICATION, "The model does not compute here what was recorded when it was built.", "\n  ".join(problems),
            "`edgec verify` on this machine says more; another version of the runtime may compute something else",
        )  # fmt: skip
    return checks


def _check(facts: OutputFacts, actual: Array, recorded: Array, moved: float | None) -> OutputCheck:
    difference, labels = GOLDEN.difference, GOLDEN.labels
    if facts.role is not Role.FEATURES and moved is not None:
        difference = min(difference, GOLDEN.head_moves * moved + GOLDEN.head_slack)
        if moved <= GOLDEN.still:
            labels = max(labels, GOLDEN.labels_still)
    if facts.role is Role.LABELS:
        agreed = float((actual == recorded).reshape(len(actual), -1).mean(axis=1).min())
        return OutputCheck(facts.name, facts.role, 1 - agreed, 1 - labels, agreed, labels)
    cosine = float(_cosines(recorded.reshape(-1, facts.vector), actual.reshape(-1, facts.vector)).min())
    tolerance = difference * _largest(recorded)
    return OutputCheck(facts.name, facts.role, _difference(actual, recorded), tolerance, cosine, GOLDEN.cosine)


def _difference(one: Array, other: Array) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        differences = np.abs(one.astype(np.float64) - other)
    return float(np.where(np.isfinite(differences), differences, np.inf).max())


def _largest(values: Array) -> float:
    return max(float(np.abs(values).max()), _TINY)


def _cosines(expected: Array, actual: Array) -> Array:
    """Of each row; -1 for what is not finite, or zero where the expected one is not."""
    a, b = expected.astype(np.float64), actual.astype(np.float64)
    with np.errstate(all="ignore"):
        norms = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
        cosine = np.where(norms > 0, (a * b).sum(axis=1) / norms, np.where((a == b).all(axis=1), 1.0, -1.0))
    return np.where(np.isfinite(cosine), np.clip(cosine, -1, 1), -1.0)
