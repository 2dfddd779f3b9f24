"""Running a hub graph, or one made from it, on this machine. ONNX Runtime is the hub graph's reference executor."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgec import extras
from edgec.errors import RuntimeFailure, TargetError
from edgec.host.cores import usable_cores
from edgec.onboard.runtimes import onnxruntime_session

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir


def start_session(model: bytes | Path, threads: int, *, optimise: bool = True, trace: Path | None = None) -> Any:
    """An `onnxruntime.InferenceSession` of a file or its content, on the CPU. Needs nothing but ONNX Runtime, whose own errors
    are not caught. `trace` is the beginning of a path at which ONNX Runtime writes a trace when its profiling ends.

    Raises `MissingPackage` if ONNX Runtime is not installed.
    """
    with extras.named("onnxruntime"):
        import onnxruntime as ort
    return onnxruntime_session(ort, model, threads, optimise=optimise, trace=trace)


def open_session(model: ir.Model | onnx.ModelProto, *, threads: int | None = None, optimise: bool = True) -> Any:
    """A session of a graph. `optimise=False` runs every node as it stands, Q/DQ included. A protobuf message, such as a user's
    head, is run as it is.

    Raises `TargetError` if ONNX Runtime is not installed, `RuntimeFailure` if it refuses the graph.
    """
    import onnx

    from edgec.graph.files import LIMIT, save, serialised, weight_bytes

    threads = threads or usable_cores()
    try:
        if isinstance(model, onnx.ModelProto):
            return start_session(model.SerializeToString(), threads, optimise=optimise)
        if weight_bytes(model) < LIMIT:
            return start_session(serialised(model), threads, optimise=optimise)
        with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
            path = Path(folder) / "model.onnx"
            save(model, path)
            return start_session(path, threads, optimise=optimise)
    except TargetError:
        raise
    except Exception as error:
        raise RuntimeFailure("ONNX Runtime refuses the graph.", evidence=str(error).strip().splitlines()[:4]) from error


def features_of(session: Any, frames: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """The outputs by name for one batch of frames, uint8 [N, H, W, 3]."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"frames": frames}), strict=True))
