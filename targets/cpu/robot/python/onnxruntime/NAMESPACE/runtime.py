"""The model in ONNX Runtime's Python API, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .contract import INPUT, OUTPUTS
from .errors import Error, ExitCode
from .frame import Pixels


class Runtime:
    """Raises `Error` if ONNX Runtime refuses the model."""

    def __init__(self, path: Path, threads: int) -> None:
        self.threads = threads
        onnxruntime = _onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            inputs = [(each.type, tuple(each.shape)) for each in self._session.get_inputs()]
        except Exception as error:
            raise Error(ExitCode.RUNTIME, "ONNX Runtime refuses the model.", str(error)) from error
        if inputs != [("tensor(uint8)", INPUT.shape)]:
            raise Error(ExitCode.ARTEFACT, "The model takes something else than this program was written for.", str(inputs))
        self._names = [facts.name for facts in OUTPUTS]

    @staticmethod
    def version() -> str:
        """Of the runtime that is installed here."""
        return f"ONNX Runtime {_onnxruntime().__version__}"

    def infer(self, frames: Pixels) -> Sequence[Any]:
        """One packed batch; an array an output, in the order of `OUTPUTS`."""
        try:
            values: Sequence[Any] = self._session.run(self._names, {INPUT.name: frames})
        except Exception as error:
            raise Error(ExitCode.RUNTIME, "ONNX Runtime failed on a frame.", str(error)) from error
        return values


def _onnxruntime() -> Any:
    """The package, which is looked for only when a model is opened: what imports this module can still say what is wrong."""
    try:
        import onnxruntime
    except ImportError as error:
        raise Error(
            ExitCode.RUNTIME, "ONNX Runtime is missing from this Python.", str(error), "install the version in README.md"
        ) from error
    return onnxruntime
