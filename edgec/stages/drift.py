"""What the calibration frames look like to the model, recorded so that a robot notices when its world has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgec import frames as framing
from edgec.artefact.drift import CLS, PATCHES
from edgec.fidelity.drift import describe, fit
from edgec.fidelity.reference import Reference
from edgec.frames import Split
from edgec.stages.base import Build, Hub, dump, identities, load

FILE, COUNTS = "drift.npz", "counts.json"
_ENOUGH = 100
"""Validation frames, with which one in a hundred can be counted."""


@dataclass(frozen=True)
class RecordedDrift:
    """The drift file of one size, and the numbers of frames as in `edgec.fidelity.drift.Fitted`."""

    path: Path
    fitted_on: int
    judged_on: int
    beyond: int

    @property
    def note(self) -> str:
        """For the report."""
        few = f". {self.judged_on} frames cannot show how rarely others alarm" if self.judged_on < _ENOUGH else ""
        return (
            f"Drift: a frame that scores above 1 is unlike the {self.fitted_on} calibration frames; so are {self.beyond} of the "
            f"{self.judged_on} validation frames, which the threshold was set by{few}"
        )


def record_drift(build: Build, hub: Hub, split: Split, references: Sequence[Reference]) -> tuple[RecordedDrift, ...]:
    """The drift file of each size (`edgec.artefact.drift`), fitted to the calibration frames; the validation frames, which it was
    not fitted to, set the threshold. Empty if the artefact gives no features.

    The features are the float32 model's, so that one file serves every precision and board.
    """
    if not {CLS, PATCHES} <= set(hub.outputs):
        return ()
    pairs = zip(hub.all, references, strict=True)
    return tuple(_record_one(build, each, split, reference) for each, reference in pairs)


def _record_one(build: Build, hub: Hub, split: Split, reference: Reference) -> RecordedDrift:
    def produce(directory: Path) -> None:
        from edgec.artefact.arrays import write_arrays
        from edgec.graph.features import by_frame

        pictures = (picture for _, picture in framing.batches(split.calibration, hub.size))
        calibration = []
        for features in by_frame(hub.load(), (CLS, PATCHES), pictures, build.batch, threads=build.resolved.threads):
            calibration.append(describe(features[CLS], features[PATCHES]))
            step()
        validation = [describe(*pair) for pair in zip(reference.features[CLS], reference.features[PATCHES], strict=True)]
        fitted = fit(calibration, validation)
        write_arrays(directory / FILE, fitted.arrays())
        dump(directory / COUNTS, [fitted.fitted_on, fitted.judged_on, fitted.beyond])

    with build.progress.stage(f"describe the calibration frames{build.at(hub.size)}", len(split.calibration)) as step:
        key = build.key(hub, reference, identities(split.calibration))
        modules = "edgec.artefact.arrays", "edgec.fidelity.drift", "edgec.frames", "edgec.graph.features"
        gflop = hub.model.gflops * len(split.calibration)
        directory = build.stage("drift", key, produce, modules=modules, gflop=gflop)
    return RecordedDrift(directory / FILE, *load(directory / COUNTS))
