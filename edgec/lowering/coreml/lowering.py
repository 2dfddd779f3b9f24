"""One package a plan: the hub graph's program, its weights as the plan stores them, and how this machine runs what was saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgec.cores import usable_cores
from edgec.errors import RuntimeFailure
from edgec.evidence import Evidence
from edgec.lowering.base import Availability, Features, Frames, Label, LoweredModel, Lowering, Runner, require_frames
from edgec.lowering.coreml import metadata, package, sdk
from edgec.lowering.coreml.types import with_headroom

if TYPE_CHECKING:
    import onnx

    from edgec.fidelity.trace import Trace
    from edgec.lowering.coreml.evaluator import Program
    from edgec.precision.plan import PrecisionPlan


class CoreMl(Lowering):
    name = "coreml"
    title = "Core ML"
    precisions = ("fp32", "fp16", "w8", "int8", "w6", "w4")
    int8_kinds = ("linear", "convolution")
    evidence = Evidence.SIMULATED
    """Of whatever its runner computes: there is no Core ML but on Apple's machines."""

    def availability(self) -> Availability:
        return sdk.availability()

    def runnable(self) -> Availability:
        """edgec's evaluator needs nothing but numpy."""
        return Availability(True, version="edgec's evaluator")

    def fitted(self, hub: onnx.ModelProto, plan: PrecisionPlan, peaks: Mapping[str, float]) -> PrecisionPlan:
        return with_headroom(hub, plan, peaks)

    def lower(self, hub: onnx.ModelProto, plan: PrecisionPlan, directory: Path) -> LoweredModel:
        """Writes `<plan's name>.mlpackage`. `settings["float32"]` says which products had to stay in float32, and why.

        Raises `TargetError` if coremltools is not installed, `ExportError` naming an operation that has no translation.
        """
        from edgec.lowering.coreml.writing import write

        place = directory / f"{plan.name}{package.SUFFIX}"
        kept = write(hub, plan, place)
        settings = {"precision": plan.name, "shape": metadata.frames_shape(hub), "float32": kept}
        return LoweredModel(self.name, directory, f"{place.name}/{package.MANIFEST}", package.files(place), settings)

    def label(self, model: LoweredModel, label: Label) -> None:
        metadata.write(_package(model), label)

    def load(self, model: LoweredModel, *, threads: int | None = None) -> Runner:
        """The saved package in edgec's own evaluator. Needs numpy only; how many threads that takes is numpy's own affair."""
        from edgec.lowering.coreml.evaluator import load

        try:
            program = load(_package(model))
        except RuntimeFailure as error:
            raise RuntimeFailure(
                "edgec's evaluator of Core ML packages refuses the model.", evidence=[model.entry, error.what, *error.evidence]
            ) from error
        return _Runner(program, tuple(model.settings["shape"]), str(model.settings["precision"]))


class _Runner(Runner):
    def __init__(self, program: Program, shape: tuple[int, ...], precision: str) -> None:
        self._program, self._shape = program, shape
        self.threads = usable_cores()
        self.execution_precision = f"{precision}; {Evidence.SIMULATED.value}"

    def __call__(self, frames: Frames) -> Features:
        require_frames(frames, self._shape)
        # A package whose fp16 overflows gives infinities and NaN: what is made of them is for its fidelity to say.
        with np.errstate(all="ignore"):
            return {name: np.array(value, dtype=np.float32) for name, value in self._program.run(frames).items()}

    def trace(self, frames: Frames) -> Trace:
        """What each operation computes of one batch."""
        from edgec.lowering.coreml.evaluator.tracing import trace

        require_frames(frames, self._shape)
        return trace(self._program, frames)


def _package(model: LoweredModel) -> Path:
    return (model.directory / model.entry).parent
