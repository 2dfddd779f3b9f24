"""Whether a calibration set has what a robot will see, in the model's own eyes: the patch features of frames set aside, each
looked for among those of the calibration frames.

Ranges fit what calibration has seen. A patch that is like nothing there is one that int8 was not made for.
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
"""Per cent of the calibration set's own patches that find no match as good in its other frames. Validation may have as many."""
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
        return float(np.mean(self.uncovered))


def draw_features(features: Callable[[Pixels], Features], frames: Iterable[Pixels], *, seed: int = 0) -> tuple[Floats, Floats]:
    """Unit vectors of what `features` gives of each frame: patches drawn from it, [M, 48, D] (fewer where it has fewer), and CLS,
    [M, D]."""
    random = np.random.default_rng(seed)
    patches, cls = [], []
    for frame in frames:
        found = features(frame)
        grid = found["patches"].reshape(-1, found["patches"].shape[-1])
        count = min(PATCHES_A_FRAME, len(grid))
        patches.append(grid[random.choice(len(grid), count, replace=False)])
        cls.append(found["cls"][0])
    return _unit(np.stack(patches)), _unit(np.stack(cls))


def measure_coverage(calibration: Floats, validation: Floats, cls: Floats) -> Coverage:
    """From `draw_features` of both sides, and the calibration side's CLS."""
    count, each, width = calibration.shape
    known = calibration.reshape(-1, width)
    own = []
    for index, frame in enumerate(calibration):
        likeness = (frame @ known.T).reshape(each, count, each)
        likeness[:, index] = -1  # a frame's own patches are no match for it
        own.append(likeness.reshape(each, -1).max(axis=1))
    match = float(np.percentile(np.concatenate(own), STRANGE))
    uncovered = tuple(float(((frame @ known.T).max(axis=1) < match).mean()) for frame in validation)
    spread = np.linalg.svd(cls - cls.mean(axis=0), compute_uv=False) ** 2
    return Coverage(match, uncovered, float(spread.sum() ** 2 / max(float(np.square(spread).sum()), 1e-30)))


def findings(found: Coverage, names: Sequence[str]) -> tuple[LintFinding, ...]:
    """For the linter; `names` are the validation frames'."""
    said = []
    share = f"{found.share:.0%} of the validation frames' patches look like nothing in the calibration frames"
    strange = [name for name, part in zip(names, found.uncovered, strict=True) if part > _WHOLE_FRAME]
    named = ", ".join(strange[:_NAMED]) + (f" and {len(strange) - _NAMED} more" if len(strange) > _NAMED else "")
    if found.share > _MUCH:
        text = f"{share} ({STRANGE:.0f}% would be usual): static ranges were not made for them; calibrate on frames like these"
        said.append(LintFinding("warning", "coverage", text + (f": {named}" if strange else ""), tuple(strange)))
    else:
        said.append(LintFinding("note", "coverage", share + (f", among them most of {named}" if strange else ""), tuple(strange)))
    if found.directions < _FEW_DIRECTIONS:
        text = f"the frames' CLS tokens vary in about {found.directions:.1f} directions: much of one scene; add other places"
        said.append(LintFinding("warning", "coverage", text))
    return tuple(said)


def _unit(values: Floats) -> Floats:
    norms = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.asarray(values / np.maximum(norms, 1e-12), dtype=np.float32)
