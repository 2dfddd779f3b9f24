"""ONNX Runtime on a CPU: the hub graph itself, with Q/DQ pairs where the plan says int8."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec import extras
from edgec.errors import RuntimeFailure, UnsupportedOperation
from edgec.graph.session import open_session, start_session
from edgec.host.cores import usable_cores
from edgec.lowering.base import (
    Availability,
    Features,
    Frames,
    LoweredModel,
    Lowering,
    Profiler,
    Runner,
    first_lines,
    output_type,
    require_frames,
    runtime_errors,
)

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgec.graph.plan import PrecisionPlan


class OnnxRuntime(Lowering):
    """ONNX Runtime on a CPU: `model.onnx`, the hub graph with the plan's Q/DQ pairs."""

    name = "onnxruntime"
    title = "ONNX Runtime"
    precisions = ("fp32", "int8")
    per_token = True
    int8_kinds = ("linear",)  # an int8 convolution needs a quantised output too, which costs more than it brings here

    def availability(self) -> Availability:
        """Whether ONNX Runtime can be imported."""
        return Availability.of("onnxruntime")

    def check_head(self, head: ir.Model, versions: Sequence[str] = ()) -> None:
        """By opening a session of the head."""
        try:
            open_session(head, threads=1)
        except RuntimeFailure as error:
            raise UnsupportedOperation(
                "ONNX Runtime refuses it.", evidence=error.evidence, remedy="export the head without that operation"
            ) from error

    def lower(self, hub: ir.Model, plan: PrecisionPlan, directory: Path) -> LoweredModel:
        """Writes `model.onnx`, with `model.onnx.data` beside it for weights beyond 2 GB."""
        from edgec.graph.files import save
        from edgec.graph.passes.base import rewritten
        from edgec.graph.planned import apply_plan
        from edgec.lowering.bias import LiftBiases
        from edgec.lowering.onnxruntime_tokens import QuantiseTokens

        model = hub
        if plan.quantised:
            passes = (LiftBiases(plan), *([QuantiseTokens(plan)] if plan.of("int8-per-token") else ()))
            model = rewritten(apply_plan(hub, plan), *passes)
        files = save(model, directory / "model.onnx")
        return LoweredModel(self.name, directory, "model.onnx", files, {"precision": plan.name})

    def load(self, model: LoweredModel, *, threads: int | None = None) -> Runner:
        """Opens the file in a session."""
        return _open(model, threads or usable_cores())

    def require_profiler(self) -> None:
        """The names of the steps' operations are read from the file, by the package onnx."""
        extras.require("build", "Timing the steps of ONNX Runtime")

    def profiler(self, model: LoweredModel, *, threads: int | None = None) -> Profiler:
        """Opens the file in a session that writes a trace into a folder of its own."""
        from edgec.lowering.onnxruntime_steps import OnnxRuntimeProfiler

        folder = tempfile.TemporaryDirectory(prefix="edgec-profile-")
        runner = _open(model, threads or usable_cores(), trace=Path(folder.name) / "trace")
        return OnnxRuntimeProfiler(runner, runner.session, model.directory / model.entry, folder)


class SessionRunner(Runner):
    """An `onnxruntime.InferenceSession` of a graph that takes frames."""

    def __init__(self, session: Any, threads: int, execution_precision: str) -> None:
        self.session = session
        self._shape = tuple(session.get_inputs()[0].shape)
        self._outputs = [output.name for output in session.get_outputs()]
        self.threads = threads
        self.execution_precision = execution_precision

    def __call__(self, frames: Frames) -> Features:
        require_frames(frames, self._shape)
        try:
            values = self.session.run(self._outputs, {"frames": frames})
        except Exception as error:
            raise RuntimeFailure("ONNX Runtime failed on a frame.", evidence=first_lines(error)) from error
        return {name: np.asarray(value, output_type(value.dtype)) for name, value in zip(self._outputs, values, strict=True)}


def _open(model: LoweredModel, threads: int, trace: Path | None = None) -> SessionRunner:
    """`trace` is the beginning of a path at which ONNX Runtime writes a trace when its profiling ends."""
    with runtime_errors("ONNX Runtime refuses the model.", model.entry):
        session = start_session(model.directory / model.entry, threads, trace=trace)
        return SessionRunner(session, threads, str(model.settings.get("precision", "")))
