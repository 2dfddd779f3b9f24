"""`golden/operations.json`: what each operation computed of the first golden frames when the artefact was built. One beside each
size's golden frames.

For runtimes whose operations can be watched one by one, as edgec's own evaluator of Core ML packages. It names what is wrong with
a damaged model, and finds damage that is too small to show in the features.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from edgec.artefact.golden import golden_path
from edgec.artefact.reading import OpenArtefact, OpenSize
from edgec.fidelity.trace import TRACE, Difference, Trace, Traceable, first_difference
from edgec.lowering.base import Frames, Runner
from edgec.report.records import read_record


def write_operations(directory: Path, runner: Runner, frames: Frames, batch: int, *, folder: str = "") -> None:
    """Beside the golden vectors of an artefact that is in the making. Nothing, if the runner's operations cannot be watched."""
    if isinstance(runner, Traceable):
        found = runner.trace(_first(frames, batch))
        (directory / golden_path(TRACE, folder)).write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")


def first_changed_operation(artefact: OpenArtefact, size: OpenSize, runner: Runner) -> Difference | None:
    """At this size. None if all compute what was recorded, or nothing was. Raises `ArtefactError` if the record is damaged."""
    path = str(PurePosixPath(size.facts.golden.frames).with_name(PurePosixPath(TRACE).name))
    if not isinstance(runner, Traceable) or path not in {file.path for file in artefact.manifest.files}:
        return None
    recorded = read_record(artefact.directory / path, Trace, "record of operations")
    return first_difference(recorded, runner.trace(_first(size.golden.frames, size.facts.input.shape[0])))


def _first(frames: Frames, batch: int) -> Frames:
    """One batch, its last frame repeated where there are too few."""
    return np.ascontiguousarray(frames[np.minimum(np.arange(batch), len(frames) - 1)])
