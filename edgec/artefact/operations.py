"""`golden/operations.json`: what each operation computed of the first golden frames when the artefact was built. Each size's
golden frames have one.

Only for runtimes whose operations can be observed one by one, such as edgec's evaluator of Core ML packages. It shows what is
wrong with a damaged model, and finds damage that is too small to show in the features.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from edgec.artefact.golden import golden_path
from edgec.artefact.reading import OpenArtefact, OpenSize
from edgec.batches import filled
from edgec.errors import ArtefactError, FidelityError
from edgec.fidelity.trace import TRACE, Difference, Trace, Traceable, first_difference
from edgec.lowering.base import Frames, Runner
from edgec.records.reading import read_record

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgec.graph.plan import PrecisionPlan


@runtime_checkable
class Comparable(Protocol):
    """A runner that can compare its operations with those of the graph that its files were made from."""

    def first_difference(self, hub: ir.Model, plan: PrecisionPlan, frames: Frames) -> object | None:
        """The first operation that computes something else of one batch, with a `str` for people; None if there is none."""
        ...


def require_faithful(runner: Runner, hub: Callable[[], ir.Model], plan: PrecisionPlan, frames: Frames, batch: int) -> None:
    """Check the written files, before what they compute is recorded. `hub` loads the hub graph of the frames' size. Does nothing
    if the runner's operations cannot be compared.

    Raises `FidelityError` naming the first operation of the written files that computes something else than the hub graph's.
    """
    if isinstance(runner, Comparable):
        difference = runner.first_difference(hub(), plan, filled(frames[:batch], batch))
        if difference is not None:
            raise FidelityError(
                "The written model does not compute what the hub graph does.",
                evidence=f"first at {difference}",
                remedy="report this with the versions that `edgec doctor` prints; nothing was written",
            )


def write_operations(directory: Path, runner: Runner, frames: Frames, batch: int, *, folder: str = "") -> None:
    """Record operations next to the golden vectors of an artefact that is being written. Does nothing if the runner's operations
    cannot be observed."""
    if isinstance(runner, Traceable):
        trace = runner.trace(filled(frames[:batch], batch))
        (directory / golden_path(TRACE, folder)).write_text(trace.model_dump_json(indent=1) + "\n", encoding="utf-8")


def first_changed_operation(artefact: OpenArtefact, size: OpenSize, runner: Runner) -> Difference | None:
    """The first operation at this size that computes something else than was recorded. None if there is none, if the runner's
    operations cannot be observed, or if an artefact without a seal has no record.

    Raises `ArtefactError` if the record is damaged or missing.
    """
    path = str(PurePosixPath(size.facts.golden.frames).with_name(PurePosixPath(TRACE).name))
    if not isinstance(runner, Traceable):
        return None
    if path not in {file.path for file in artefact.manifest.files}:
        if artefact.manifest.execution is None:
            return None
        raise ArtefactError(
            f"{artefact.directory} does not say what its operations computed.",
            evidence=f"{path} is missing from the manifest",
            remedy="it was edited: build it again",
        )
    recorded = read_record(artefact.directory / path, Trace, "record of operations")
    batch = size.facts.input.shape[0]
    return first_difference(recorded, runner.trace(filled(size.golden.frames[:batch], batch)))
