"""Whether a calibration set covers what a robot will see, by the model's own features: each patch of frames that were set aside
is looked for among the patches of the calibration frames.

Ranges fit what calibration has seen. int8 was not calibrated for a patch that is like none of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgec.fidelity.metrics import Features
from edgec.frames.lint import LintFinding
from edgec.frames.types import Pixels

Floats = NDArray[np.float32]

PATCHES_A_FRAME = 48
STRANGE = 5.0
"""The percentage of the calibration set's own patches that have no better match in its other frames, which defines a match.
Validation frames may have as many such patches."""
_MUCH, _WHOLE_FRAME = 0.15, 0.5
_FEW_DIRECTIONS = 2.0
_NAMED = 5


@dataclass(frozen=True)
class Coverage:
    """`uncovered` is, by validation frame, the share of its patches whose best match among calibration patches is worse than
    `match`, a cosine. `directions` is in how many directions, about, the calibration frames' CLS tokens vary: the participation
    ratio of their covariance."""

    match: float
    uncovered: tuple[float, ...]
    directions: float

    @property
    def share(self) -> float:
        """The mean share of uncovered patches, over all validation frames."""
        return float(np.mean(self.uncovered))


def draw_features(features: Callable[[Pixels], Features], frames: Iterable[Pixels], *, seed: int = 0) -> tuple[Floats, Floats]:
    """Unit vectors of the features that `features` computes of each frame: patches drawn from it, [M, 48, D] (fewer where it has
    fewer), and CLS, [M, D]."""
    random = np.random.default_rng(seed)
    patches, cls = [], []
    for frame in frames:
        outputs = features(frame)
        grid = outputs["patches"].reshape(-1, outputs["patches"].shape[-1])
        count = min(PATCHES_A_FRAME, len(grid))
        patches.append(grid[random.choice(len(grid), count, replace=False)])
        cls.append(outputs["cls"][0])
    return _unit(np.stack(patches)), _unit(np.stack(cls))


def measure_coverage(calibration: Floats, validation: Floats, cls: Floats) -> Coverage:
    """The coverage of validation frames by calibration frames: patches of both from `draw_features`, and the calibration frames'
    CLS."""
    count, each, width = calibration.shape
    known = calibration.reshape(-1, width)
    best_matches = []
    for index, frame in enumerate(calibration):
        likeness = (frame @ known.T).reshape(each, count, each)
        likeness[:, index] = -1  # a frame's own patches are no match for it
        best_matches.append(likeness.reshape(each, -1).max(axis=1))
    match = float(np.percentile(np.concatenate(best_matches), STRANGE))
    uncovered = tuple(float(((frame @ known.T).max(axis=1) < match).mean()) for frame in validation)
    spread = np.linalg.svd(cls - cls.mean(axis=0), compute_uv=False) ** 2
    return Coverage(match, uncovered, float(spread.sum() ** 2 / max(float(np.square(spread).sum()), 1e-30)))


def findings(coverage: Coverage, names: Sequence[str]) -> tuple[LintFinding, ...]:
    """What the linter says of a coverage; `names` are those of the validation frames."""
    entries = []
    share = f"{coverage.share:.0%} of the validation frames' patches look like nothing in the calibration frames"
    strange = [name for name, part in zip(names, coverage.uncovered, strict=True) if part > _WHOLE_FRAME]
    named = ", ".join(strange[:_NAMED]) + (f" and {len(strange) - _NAMED} more" if len(strange) > _NAMED else "")
    if coverage.share > _MUCH:
        text = f"{share} ({STRANGE:.0f}% would be usual): static ranges were not made for them; calibrate on frames like these"
        entries.append(LintFinding("warning", "coverage", text + (f": {named}" if strange else ""), tuple(strange)))
    else:
        entries.append(
            LintFinding("note", "coverage", share + (f", among them most of {named}" if strange else ""), tuple(strange))
        )
    if coverage.directions < _FEW_DIRECTIONS:
        text = f"the frames' CLS tokens vary in about {coverage.directions:.1f} directions: much of one scene; add other places"
        entries.append(LintFinding("warning", "coverage", text))
    return tuple(entries)


def _unit(values: Floats) -> Floats:
    norms = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.asarray(values / np.maximum(norms, 1e-12), dtype=np.float32)
