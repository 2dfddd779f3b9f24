"""The largest absolute value of every float activation of a hub graph over some frames: whether fp16 can hold it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from edgec.errors import CalibrationError
from edgec.frames.types import Pixels
from edgec.graph.passes.outputs import GiveOnly
from edgec.graph.session import open_session
from edgec.graph.statistics import not_finite, stacked
from edgec.graph.values import add_constant, name_of


def observe_peaks(hub: ir.Model, frames: Iterable[Pixels], batch: int, *, threads: int | None = None) -> dict[str, float]:
    """The largest absolute values by tensor over all frames, uint8 [H, W, 3]. Two numbers a tensor and batch leave the runtime.

    Raises `CalibrationError` if there is no frame, or an activation is not finite.
    """
    watched = hub.clone()
    tape = ir.tape.Tape(watched.graph)
    flat = add_constant(watched.graph, "peaks.flat", np.array([-1], np.int64))
    floats = [value for node in watched.graph for value in node.outputs if value.dtype == ir.DataType.FLOAT]
    tensors = [name_of(value) for value in floats]
    for value in floats:
        sizes = tape.op("Reshape", [tape.op("Abs", [value]), flat])
        for part, kind in (("peak", "ReduceMax"), ("mean", "ReduceMean")):
            tape.op(kind, [sizes], {"keepdims": 0}, output=ir.val(f"{value.name}.{part}", ir.DataType.FLOAT, []))
    names = [f"{tensor}.{part}" for part in ("peak", "mean") for tensor in tensors]
    GiveOnly(names)(watched)
    session = open_session(watched, threads=threads)
    largest = np.full(len(tensors), -1.0)
    for stack in stacked(frames, batch):
        # The mean carries NaN along, while the runtime's extremes pass over it.
        peaks, means = np.array(session.run(names, {"frames": stack}), dtype=np.float64).reshape(2, -1)
        finite = np.isfinite(peaks) & np.isfinite(means)
        if not finite.all():
            raise not_finite(tensors[int(np.argmin(finite))])
        largest = np.maximum(largest, peaks)
    if (largest < 0).all():
        raise CalibrationError("There was no frame to calibrate on.")
    return {tensor: float(value) for tensor, value in zip(tensors, largest, strict=True)}
