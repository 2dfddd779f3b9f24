"""What the calibration frames look like to the model, recorded so that a robot notices when its world has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgec import frames as framing
from edgec.artefact.drift import CLS
from edgec.fidelity.drift import fit
from edgec.fidelity.reference import Reference
from edgec.frames import Split
from edgec.stages.base import Build, Hub, dump, identities, load

FILE, COUNTS = "drift.npz", "counts.json"
_ENOUGH = 100
"""Calibration frames: with half as many, the threshold must be so wide that weak faults go unnoticed (docs/drift.md)."""


@dataclass(frozen=True)
class RecordedDrift:
    """The drift file of one size, and the numbers of frames as in `edgec.fidelity.drift.Fitted`."""

    path: Path
    fitted_on: int
    judged_on: int

    @property
    def note(self) -> str:
        """For the report."""
        few = "; of so few, it must be wide, and faults that are weak go unnoticed" if self.fitted_on < _ENOUGH else ""
        return (
            f"Drift: a frame that scores above 1 is unlike the {self.fitted_on} calibration frames. The threshold is above all "
            f"scores of the {self.judged_on} validation frames, and of calibration frames by a fit without them{few}"
        )


def record_drift(build: Build, hub: Hub, split: Split, references: Sequence[Reference]) -> tuple[RecordedDrift, ...]:
    """The drift file of each size (`edgec.artefact.drift`), fitted to the calibration frames; the validation frames, which it was
    not fitted to, set the threshold. Empty if the artefact gives no features.

    The features are the float32 model's, so that one file serves every precision and board.
    """
    if CLS not in hub.outputs:
        return ()
    pairs = zip(hub.all, references, strict=True)
    return tuple(_record_one(build, each, split, reference) for each, reference in pairs)


def _record_one(build: Build, hub: Hub, split: Split, reference: Reference) -> RecordedDrift:
    def produce(directory: Path) -> None:
        from edgec.artefact.arrays import write_arrays
        from edgec.graph.features import by_frame

        pictures = (picture for _, picture in framing.batches(split.calibration, hub.size))
        calibration = []
        for features in by_frame(hub.load(), (CLS,), pictures, build.batch, threads=build.resolved.threads):
            calibration.append(features[CLS])
            step()
        fitted = fit(calibration, list(reference.features[CLS]))
        write_arrays(directory / FILE, fitted.arrays())
        dump(directory / COUNTS, [fitted.fitted_on, fitted.judged_on])

    with build.progress.stage(f"describe the calibration frames{build.at(hub.size)}", len(split.calibration)) as step:
        key = build.key(hub, reference, identities(split.calibration))
        modules = "edgec.artefact.arrays", "edgec.fidelity.drift", "edgec.frames", "edgec.graph.features"
        gflop = hub.model.gflops * len(split.calibration)
        directory = build.stage("drift", key, produce, modules=modules, gflop=gflop)
    return RecordedDrift(directory / FILE, *load(directory / COUNTS))
