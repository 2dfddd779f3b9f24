"""`golden/operations.json`: what each operation computed of the first golden frames when the artefact was built. One beside each
size's golden frames.

For runtimes whose operations can be watched one by one, as edgec's own evaluator of Core ML packages. It names what is wrong with
a damaged model, and finds damage that is too small to show in the features.
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
    """A runner that can hold its operations against those of the graph that its files were made from."""

    def first_difference(self, hub: ir.Model, plan: PrecisionPlan, frames: Frames) -> object | None:
        """Of one batch: the first that computes something else, as people read it."""
        ...


def require_faithful(runner: Runner, hub: Callable[[], ir.Model], plan: PrecisionPlan, frames: Frames, batch: int) -> None:
    """What will be recorded is checked itself. `hub` loads the hub graph of the frames' size. Nothing, if the runner's operations
    cannot be compared.

    Raises `FidelityError` naming the first operation of the written files that computes something else than the hub graph's.
    """
    if isinstance(runner, Comparable):
        found = runner.first_difference(hub(), plan, filled(frames[:batch], batch))
        if found is not None:
            raise FidelityError(
                "The written model does not compute what the hub graph does.",
                evidence=f"first at {found}",
                remedy="report this with the versions that `edgec doctor` prints; nothing was written",
            )


def write_operations(directory: Path, runner: Runner, frames: Frames, batch: int, *, folder: str = "") -> None:
    """Beside the golden vectors of an artefact that is in the making. Nothing, if the runner's operations cannot be watched."""
    if isinstance(runner, Traceable):
        found = runner.trace(filled(frames[:batch], batch))
        (directory / golden_path(TRACE, folder)).write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")


def first_changed_operation(artefact: OpenArtefact, size: OpenSize, runner: Runner) -> Difference | None:
    """At this size. None if all compute what was recorded, or nothing was, which only an artefact without a seal may say.

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
