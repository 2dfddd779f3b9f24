"""The model in OpenVINO's Python API, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .contract import INPUT, OUTPUTS, SETTINGS
from .errors import Error, ExitCode
from .frame import Pixels


class Runtime:
    """Raises `Error` if OpenVINO refuses the model."""

    def __init__(self, path: Path, threads: int) -> None:
        openvino = _openvino()
        properties = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", **SETTINGS}
        try:
            core = openvino.Core()
            read = core.read_model(path)
            # By the names in the file: a compiled output also has names of tensors that were fused into it.
            names = [output.get_names() for output in read.outputs]
            compiled = core.compile_model(read, "CPU", properties)
            self.threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))
            self._request = compiled.create_infer_request()
            inputs = [(each.get_element_type().get_type_name(), tuple(each.shape)) for each in compiled.inputs]
        except Exception as error:
            raise Error(ExitCode.RUNTIME, "OpenVINO refuses the model.", str(error)) from error
        if inputs != [("u8", INPUT.shape)]:
            raise Error(ExitCode.ARTEFACT, "The model takes something else than this program was written for.", str(inputs))
        self._places = []
        for facts in OUTPUTS:
            places = [place for place, known in enumerate(names) if facts.name in known]
            if not places:
                raise Error(ExitCode.ARTEFACT, "The model lacks an output that this program was written for.", facts.name)
            self._places.append(places[0])

    @staticmethod
    def version() -> str:
        """Of the runtime that is installed here."""
        return f"OpenVINO {_openvino().__version__}"

    def infer(self, frames: Pixels) -> Sequence[Any]:
        """One packed batch; an array an output, in the order of `OUTPUTS`, which the next call overwrites."""
        try:
            values = self._request.infer([frames], share_inputs=True, share_outputs=True)
            return [values[place] for place in self._places]
        except Exception as error:
            raise Error(ExitCode.RUNTIME, "OpenVINO failed on a frame.", str(error)) from error


def _openvino() -> Any:
    """The package, which is looked for only when a model is opened: what imports this module can still say what is wrong."""
    try:
        import openvino
    except ImportError as error:
        raise Error(
            ExitCode.RUNTIME, "OpenVINO is missing from this Python.", str(error), "install the version in README.md"
        ) from error
    return openvino
