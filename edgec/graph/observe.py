"""Calibration: one pass of frames through the hub graph, keeping only the extremes of each activation.

The reductions are nodes of the graph itself, so that a frame's activations never leave the runtime and memory does not grow with
the number of frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from edgec.errors import CalibrationError
from edgec.frames.types import Pixels
from edgec.graph.session import open_session
from edgec.precision.plan import Range

EXTREMES = ((".low", "ReduceMin"), (".high", "ReduceMax"), (".mean", "ReduceMean"))
"""The mean is there for NaN: it carries one along, while ONNX Runtime's extremes pass over it."""


def with_extremes(hub: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """The hub graph with three scalars more for each tensor, and nothing else as output."""
    observed = onnx.ModelProto()
    observed.CopyFrom(hub)
    del observed.graph.output[:]
    for tensor in tensors:
        for suffix, kind in EXTREMES:
            name = tensor + suffix
            observed.graph.node.append(helper.make_node(kind, [tensor], [name], name=name, keepdims=0))
            observed.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, []))
    return observed


def observe_ranges(
    hub: onnx.ModelProto, tensors: Sequence[str], frames: Iterable[Pixels], batch: int, threads: int | None = None
) -> dict[str, Range]:
    """The range of each activation tensor over all frames (uint8 [H, W, 3]). Nothing is clipped: a massive activation is part of
    the model. Raises `CalibrationError` if an activation is not finite.
    """
    session = open_session(with_extremes(hub, tensors), threads=threads)
    names = [tensor + suffix for tensor in tensors for suffix, _ in EXTREMES]
    extremes = np.zeros((len(tensors), 2), dtype=np.float32)
    for stack in stacked(frames, batch):
        seen = np.asarray(session.run(names, {"frames": stack}), dtype=np.float32).reshape(len(tensors), len(EXTREMES))
        if not np.isfinite(seen).all():
            bad = tensors[int(np.flatnonzero(~np.isfinite(seen).all(axis=1))[0])]
            raise CalibrationError(
                "The float32 model computes NaN or Inf on a calibration frame.",
                evidence=f"first at the activation {bad}",
                remedy="check the checkpoint with `edgec inspect`",
            )
        extremes[:, 0] = np.minimum(extremes[:, 0], seen[:, 0])
        extremes[:, 1] = np.maximum(extremes[:, 1], seen[:, 1])
    return {tensor: Range(float(low), float(high)) for tensor, (low, high) in zip(tensors, extremes, strict=True)}


def stacked(frames: Iterable[Pixels], batch: int) -> Iterator[NDArray[np.uint8]]:
    """Frames as uint8 [batch, H, W, 3]; the last stack is filled up by repeating its last frame."""
    held: list[Pixels] = []
    for frame in frames:
        held.append(frame)
        if len(held) == batch:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held + [held[-1]] * (batch - len(held)))
