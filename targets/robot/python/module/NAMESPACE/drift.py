"""How unlike the frames that the model was calibrated on a frame is: the score that `edgec run` gives it, from its CLS token.

For the CLS token c:  d = (c - mean) * weights  by channel,  score = sqrt(d . d - |axes d|^2),  in float64. Above
`DRIFT.threshold` a frame alarms: nobody has checked what the model makes of such frames. edgec's docs/drift.md says what it
notices, and what it does not.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contract import BUILD_KEY, DRIFT, GOLDEN, OUTPUTS
from .errors import Error, ExitCode
from .facts import DriftFacts
from .files import read_values
from .onboard.keeping import Keeper
from .onboard.ring import Bounds

_SAME = 1e-6
"""Two machines add up in different orders: a share of the score, or of 1 if that is more."""


class Drift:
    """Scores frames by their CLS tokens."""

    def __init__(self, folder: Path, facts: DriftFacts) -> None:
        """Reads the checked files in `folder`. Raises `Error` if what was recorded of a golden frame gets another score here than
        edgec gave it."""
        output = OUTPUTS[facts.output]
        self.member = output.member
        self._most = facts.most
        single = np.dtype(np.float32)
        world = read_values(folder / facts.world, single, (2 + facts.directions, output.values))
        self._mean, self._weights, self._axes = world[0], world[1], world[2:].astype(np.float64)
        tokens = read_values(folder / output.recorded, single, (GOLDEN.count, output.values))
        recorded = read_values(folder / facts.recorded, np.dtype(np.float64), (GOLDEN.count,))
        for index, (token, expected) in enumerate(zip(tokens, recorded, strict=True)):
            actual = self.score(token)
            if not abs(actual - expected) <= _SAME * max(1.0, expected):
                raise Error(
                    ExitCode.VERIFICATION, "The drift score is not computed here as it was when the artefact was built.",
                    f"golden frame {index}: {actual:.9g} instead of {expected:.9g}", "look at this machine's numpy",
                )  # fmt: skip

    def score(self, token: NDArray[Any]) -> float:
        """Of one frame's CLS token [D]: from 0 to `DRIFT.most`, which a token that is not finite has."""
        with np.errstate(all="ignore"):
            away = (token.astype(np.float64) - self._mean) * self._weights
            along = self._axes @ away
            squared = float(away @ away - along @ along)
        if not math.isfinite(squared):
            return self._most
        return min(math.sqrt(max(squared, 0.0)), self._most)


def alarms(score: float | None) -> bool:
    """Whether a frame of this score is unlike the calibration frames; False where the artefact cannot tell."""
    return DRIFT is not None and score is not None and score > DRIFT.threshold


def open_keeper(folder: Path, frames: int, megabytes: float, *, wait: bool = False) -> Keeper:
    """Keeps frames that alarm in `folder`, the newest ones within these bounds. Raises `Error` if the folder cannot be written,
    or the artefact cannot tell which frames those are."""
    if DRIFT is None:
        raise Error(ExitCode.REQUEST, "The artefact has recorded nothing that tells drift.", remedy="keep no frames")
    try:
        return Keeper(folder, BUILD_KEY, Bounds(frames, megabytes), wait=wait)
    except OSError as error:
        raise Error(
            ExitCode.REQUEST, f"{folder} cannot keep frames.", error.strerror or str(error), "choose another folder"
        ) from error
