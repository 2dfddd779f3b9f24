"""A model in OpenVINO or ONNX Runtime on a CPU: opened and run in the same way on the workstation and on a board.

Each function takes the runtime's module. None catches the runtime's own errors.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Mapping, Sequence

OPENVINO_SETTINGS = ("INFERENCE_PRECISION_HINT", "DYNAMIC_QUANTIZATION_GROUP_SIZE")
"""The properties of OpenVINO that a model may set. Manifests come from anywhere, and other properties name files and caches."""
_PRODUCTS = ("FullyConnected", "MatMul", "Convolution", "ScaledDotProductAttention", "Gemm")


class OpenVinoModel:
    """A model that OpenVINO has compiled for the CPU with so many `threads`, at most as many as there are cores. `settings` may
    have others than OpenVINO's, which are ignored; `more` are further properties."""

    def __init__(self, ov: Any, path: Path, settings: Mapping[str, Any], threads: int, **more: Any) -> None:
        allowed = {name: str(settings[name]) for name in OPENVINO_SETTINGS if name in settings}
        core = ov.Core()
        read = core.read_model(path)
        # The file's names: a compiled output also has the names of tensors that were fused into it.
        self.outputs: Sequence[str] = [output.get_any_name() for output in read.outputs]
        properties = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", **allowed, **more}
        self.compiled = core.compile_model(read, "CPU", properties)
        self.shape = tuple(int(side) for side in self.compiled.inputs[0].shape)
        self.threads = int(self.compiled.get_property("INFERENCE_NUM_THREADS"))
        self.request = self.compiled.create_infer_request()

    def __call__(self, frames: Any) -> list[Any]:
        """The outputs of uint8 [N, H, W, 3], in their order, valid until the next call."""
        values = self.request.infer([frames], share_inputs=True)
        return [values[index] for index in range(len(self.outputs))]

    @property
    def execution_precision(self) -> str:
        """What it computes in, read from its execution graph: products by type, most first."""
        types: Counter[str] = Counter()
        for node in self.compiled.get_runtime_model().get_ops():
            precision = openvino_info(node, "runtimePrecision").lower()
            if precision and openvino_info(node, "layerType").startswith(_PRODUCTS):
                types[precision] += 1
        hint = self.compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        return f"{', '.join(f'{kind} {count}' for kind, count in types.most_common())}; rest {hint}"


def openvino_info(node: Any, key: str) -> str:
    """What OpenVINO says of a node of its execution graph; empty if nothing."""
    information = node.get_rt_info()
    return str(information[key].value) if key in information else ""


def onnxruntime_session(ort: Any, model: bytes | Path, threads: int, *, optimise: bool = True, trace: Path | None = None) -> Any:
    """An `onnxruntime.InferenceSession` of a file or its content, on the CPU. `optimise=False` runs every node as it stands.
    `trace` is the beginning of a path at which ONNX Runtime writes a trace when its profiling ends."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    if trace is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(trace)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class OnnxRuntimeModel:
    """A session of a graph that takes `frames`, with so many `threads`. `settings` say the plan's precision."""

    def __init__(self, session: Any, settings: Mapping[str, Any], threads: int) -> None:
        self.session, self.threads = session, threads
        self.shape = tuple(session.get_inputs()[0].shape)
        self.outputs: Sequence[str] = [output.name for output in session.get_outputs()]
        self.execution_precision = str(settings.get("precision", ""))

    def __call__(self, frames: Any) -> list[Any]:
        """The outputs of uint8 [N, H, W, 3], in their order."""
        return list(self.session.run(self.outputs, {"frames": frames}))


def open_model(runtime: str, module: Any, path: Path, settings: Mapping[str, Any], threads: int) -> Any:
    """The model at `path` in the runtime of that name, whose imported `module` is given. Raises `KeyError` for another one."""
    if runtime == "openvino":
        return OpenVinoModel(module, path, settings, threads)
    if runtime == "onnxruntime":
        return OnnxRuntimeModel(onnxruntime_session(module, path, threads), settings, threads)
    raise KeyError(runtime)
