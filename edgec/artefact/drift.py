"""What the calibration frames look like to an artefact's model, by which a robot notices that its world has changed.

drift.npz   mean     float32 [D], the features' width: `edgec.onboard.drift.World`
            weights  float32 [D]
            axes     float32 [32, D]
            counts   int32 [2]: frames that it was fitted on, and validation frames that helped to set the threshold

A model that takes further sizes of frames has the same again for each: drift/480x640.npz. An artefact of an older edgec, or one
without raw features, has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.artefact.arrays import Form, read_arrays
from edgec.artefact.reading import OpenArtefact
from edgec.fidelity.drift import Fitted
from edgec.onboard import drift, vectorised
from edgec.onboard.drift import AXES, COUNTS, DIRECTIONS, MEAN, WEIGHTS, World
from edgec.records.manifest import SizeFacts

CLS = "cls"


@dataclass(frozen=True)
class Drift:
    """Scores frames of one size by their features."""

    fitted: Fitted

    def score(self, outputs: Mapping[str, NDArray[Any]]) -> float:
        """Of one frame's outputs, of which it takes `cls` [D]; above `edgec.onboard.drift.THRESHOLD` it alarms."""
        return drift.score(self.fitted.world, outputs[CLS], vectorised)


def drift_path(size: str = "") -> str:
    """Of the file for the default size, or for another one as in 480x640."""
    return f"drift/{size}.npz" if size else "drift.npz"


def read_drift(artefact: OpenArtefact, size: SizeFacts) -> Drift | None:
    """Of one of the artefact's sizes; None if the artefact has none. Raises `ArtefactError` for a file that does not fit it."""
    default = size.input.shape == artefact.manifest.input.shape
    path = drift_path("" if default else f"{size.input.shape[1]}x{size.input.shape[2]}")
    widths = {output.name: output.shape[-1] for output in size.outputs}
    if path not in {file.path for file in artefact.manifest.files} or CLS not in widths:
        return None
    features, single = widths[CLS], np.dtype(np.float32)
    forms: dict[str, Form] = {
        MEAN: ((features,), single),
        WEIGHTS: ((features,), single),
        AXES: ((DIRECTIONS, features), single),
        COUNTS: ((2,), np.dtype(np.int32)),
    }
    arrays = read_arrays(artefact.directory, path, forms, "drift file")
    return Drift(Fitted(World(arrays[MEAN], arrays[WEIGHTS], arrays[AXES]), *map(int, arrays[COUNTS])))
