"""One package for each plan: the hub graph's program with its weights as the plan stores them, and how this machine runs the
package. Hub graphs of several sizes become as many functions of one package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec.errors import RuntimeFailure
from edgec.lowering.base import Availability, Features, Frames, Label, LoweredModel, Lowering, Runner, require_frames
from edgec.lowering.coreml import metadata, package, sdk
from edgec.lowering.coreml.types import with_headroom
from edgec.lowering.sizes import function_name
from edgec.model.spec import Size
from edgec.records.evidence import Evidence

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgec.fidelity.trace import Trace
    from edgec.graph.plan import PrecisionPlan
    from edgec.lowering.coreml.evaluator import Program
    from edgec.lowering.coreml.evaluator.compare import HubDifference
    from edgec.lowering.coreml.evaluator.package import Package


SLACK = 3.0


class CoreMl(Lowering):
    """Core ML on Apple silicon, as `.mlpackage`. What its runner computes on this machine is `simulated`: Core ML itself runs on
    Apple's machines only."""

    name = "coreml"
    title = "Core ML"
    precisions = ("fp32", "fp16", "w8", "int8", "w6", "w4")
    int8_kinds = ("linear", "convolution")
    evidence = Evidence.SIMULATED
    """Of whatever its runner computes: there is no Core ML but on Apple's machines."""

    def availability(self) -> Availability:
        """Whether coremltools is installed, which writing packages needs."""
        return sdk.availability()

    def runnable(self) -> Availability:
        """edgec's evaluator needs nothing but numpy and protobuf."""
        return Availability(True, version="edgec's evaluator")

    def fitted(self, hub: ir.Model, plan: PrecisionPlan, peaks: Mapping[str, float]) -> PrecisionPlan:
        """The plan of `with_headroom`."""
        return with_headroom(hub, plan, peaks)

    def check_head(self, head: ir.Model, versions: Sequence[str] = ()) -> None:
        """Translates the head by itself. Raises `TargetError` if coremltools is not installed."""
        from edgec.lowering.coreml.writing import check_head

        check_head(head)

    def lower(self, hub: ir.Model, plan: PrecisionPlan, directory: Path) -> LoweredModel:
        """Writes `<plan's name>.mlpackage`. `settings["float32"]` has the products that had to stay in float32, each with the
        reason.

        Raises `TargetError` if coremltools is not installed, `UnsupportedOperation` naming an operation that has no translation.
        """
        from edgec.lowering.coreml.writing import MAIN

        return self._written({MAIN: hub}, plan, directory, {})

    def lower_sizes(self, hubs: Sequence[ir.Model], plan: PrecisionPlan, directory: Path) -> LoweredModel:
        """As `lower`, with one function a size: `settings["functions"]` has the shape of its frames by the function's name."""
        named = {function_name(Size(*metadata.frames_shape(hub)[1:3])): hub for hub in hubs}
        shapes = {name: metadata.frames_shape(hub) for name, hub in named.items()}
        return self._written(named, plan, directory, {"functions": shapes})

    def _written(
        self, hubs: Mapping[str, ir.Model], plan: PrecisionPlan, directory: Path, functions: dict[str, Any]
    ) -> LoweredModel:
        from edgec.lowering.coreml.writing import write

        path = directory / f"{plan.name}{package.SUFFIX}"
        in_float32 = write(hubs, plan, path)
        shape = metadata.frames_shape(next(iter(hubs.values())))
        settings = {"precision": plan.name, "shape": shape, **functions, "float32": in_float32}
        return LoweredModel(self.name, directory, f"{path.name}/{package.MANIFEST}", package.files(path), settings)

    def label(self, model: LoweredModel, label: Label) -> None:
        """Writes the label into the package's specification."""
        metadata.write(_package(model), label)

    def load(self, model: LoweredModel, *, threads: int | None = None) -> Runner:
        """Opens the saved package in edgec's own evaluator, which needs numpy and protobuf only. It runs in one thread, whatever
        `threads` says, or in as many as numpy takes."""
        from edgec.lowering.coreml.evaluator.package import read_package

        try:
            return _Runner(read_package(_package(model)), model.settings)
        except RuntimeFailure as error:
            raise RuntimeFailure(
                "edgec's evaluator of Core ML packages refuses the model.", evidence=[model.entry, error.what, *error.evidence]
            ) from error


class _Runner(Runner):
    """Runs the function whose input shape is that of the frames."""

    def __init__(self, read: Package, settings: Mapping[str, Any]) -> None:
        from edgec.lowering.coreml.evaluator.program import Program
        from edgec.lowering.coreml.evaluator.threads import blas_threads

        functions = settings.get("functions") or {read.default: settings["shape"]}
        missing = sorted(functions.keys() - read.functions.keys())
        if missing:
            raise RuntimeFailure(
                f"The package has no function {', '.join(missing)}.", evidence=f"it has {', '.join(sorted(read.functions))}"
            )
        self._read = read
        self._names = {tuple(shape): name for name, shape in functions.items()}
        # All are looked at, so that a package is refused for whatever is wrong with any of them; one at a time is kept, with
        # its weights made dense.
        for name in reversed(self._names.values()):
            self._program = Program(read.functions[name], tuple(sorted(read.functions)))
        self.threads = blas_threads()
        self.execution_precision = f"{settings['precision']}; {Evidence.SIMULATED.value}"

    def __call__(self, frames: Frames) -> Features:
        program = self._program_for(frames)
        # A package whose fp16 overflows gives infinities and NaN: what is made of them is for its fidelity to say.
        with np.errstate(all="ignore"):
            return {name: np.array(value) for name, value in program.run(frames).items()}

    def trace(self, frames: Frames) -> Trace:
        """What each operation computes of one batch."""
        from edgec.lowering.coreml.evaluator.tracing import trace

        return trace(self._program_for(frames), frames)

    def first_difference(self, hub: ir.Model, plan: PrecisionPlan, frames: Frames) -> HubDifference | None:
        """The first operation of the saved package that computes something else than the hub graph and plan that it was made
        from, on one batch; None if there is none. `SLACK` leaves room for what trained weights lose in few bits: whether that is
        too much is for fidelity to judge."""
        from edgec.graph.planned import in_float
        from edgec.lowering.coreml.evaluator.compare import first_difference

        return first_difference(self._program_for(frames), in_float(hub, plan), frames, slack=SLACK)

    def _program_for(self, frames: Frames) -> Program:
        """The program for frames of this shape. Raises `RuntimeFailure` if the package has none."""
        from edgec.lowering.coreml.evaluator.program import Program

        shape = getattr(frames, "shape", ())
        if shape not in self._names and len(self._names) > 1:
            sizes = " or ".join(str(list(each)) for each in self._names)
            raise RuntimeFailure(
                "The model was given frames of another type or shape.", evidence=f"it takes uint8 {sizes}; given: {list(shape)}"
            )
        shape = shape if shape in self._names else next(iter(self._names))
        require_frames(frames, shape)
        name = self._names[shape]
        if self._program.function.name != name:
            self._program = Program(self._read.functions[name], self._program.functions)
        return self._program


def _package(model: LoweredModel) -> Path:
    return (model.directory / model.entry).parent
