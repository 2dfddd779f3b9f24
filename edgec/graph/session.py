"""Running a hub graph, or one made from it, on this machine. ONNX Runtime is the hub graph's reference executor."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgec.errors import RuntimeFailure, TargetError
from edgec.graph.files import LIMIT, save, serialised, weight_bytes
from edgec.host.cores import usable_cores


def open_session(model: ir.Model | onnx.ModelProto, *, threads: int | None = None, optimise: bool = True) -> Any:
    """An `onnxruntime.InferenceSession`. `optimise=False` runs every node as it stands, Q/DQ included. A protobuf message, such
    as a user's head, is run as it is.

    Raises `TargetError` if ONNX Runtime is not installed, `RuntimeFailure` if it refuses the graph.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise TargetError(
            "ONNX Runtime is not installed; edgec runs the hub graph with it.",
            evidence=str(error),
            remedy="pip install 'edgec[cpu]'",
        ) from error
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or usable_cores()
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    try:
        if isinstance(model, onnx.ModelProto):
            return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        if weight_bytes(model) < LIMIT:
            return ort.InferenceSession(serialised(model), options, providers=["CPUExecutionProvider"])
        with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
            path = Path(folder) / "model.onnx"
            save(model, path)
            return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise RuntimeFailure("ONNX Runtime refuses the graph.", evidence=str(error).strip().splitlines()[:4]) from error


def features_of(session: Any, frames: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """The outputs by name for one batch of frames, uint8 [N, H, W, 3]."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"frames": frames}), strict=True))
