"""The largest absolute value of every float activation of a hub graph over some frames: whether fp16 can hold it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgec.errors import CalibrationError
from edgec.frames.types import Pixels
from edgec.graph.session import open_session
from edgec.graph.statistics import stacked


def observe_peaks(hub: onnx.ModelProto, frames: Iterable[Pixels], batch: int, *, threads: int | None = None) -> dict[str, float]:
    """By tensor, over all frames, uint8 [H, W, 3]. Two numbers a tensor and batch leave the runtime.

    Raises `CalibrationError` if there is no frame, or an activation is not finite.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(hub)
    graph = watched.graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
    tensors = [name for node in graph.node for name in node.output if kinds.get(name) == TensorProto.FLOAT]
    del graph.output[:]
    graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "peaks.flat"))
    for tensor in tensors:
        graph.node.append(helper.make_node("Abs", [tensor], [f"{tensor}.size"]))
        graph.node.append(helper.make_node("Reshape", [f"{tensor}.size", "peaks.flat"], [f"{tensor}.sizes"]))
        for part, kind in (("peak", "ReduceMax"), ("mean", "ReduceMean")):
            graph.node.append(helper.make_node(kind, [f"{tensor}.sizes"], [f"{tensor}.{part}"], keepdims=0))
            graph.output.append(helper.make_tensor_value_info(f"{tensor}.{part}", TensorProto.FLOAT, []))
    session = open_session(watched, threads=threads)
    names = [f"{tensor}.{part}" for part in ("peak", "mean") for tensor in tensors]
    largest = np.full(len(tensors), -1.0)
    for stack in stacked(frames, batch):
        # The mean carries NaN along, while the runtime's extremes pass over it.
        peaks, means = np.array(session.run(names, {"frames": stack}), dtype=np.float64).reshape(2, -1)
        finite = np.isfinite(peaks) & np.isfinite(means)
        if not finite.all():
            raise CalibrationError(
                "The float32 model computes NaN or Inf on a calibration frame.",
                evidence=f"first at the activation {tensors[int(np.argmin(finite))]}",
                remedy="check the checkpoint with `edgec inspect`",
            )
        largest = np.maximum(largest, peaks)
    if (largest < 0).all():
        raise CalibrationError("There was no frame to calibrate on.")
    return {tensor: float(value) for tensor, value in zip(tensors, largest, strict=True)}
