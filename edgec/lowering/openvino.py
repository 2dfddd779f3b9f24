"""OpenVINO on a CPU: an IR made from the hub graph, with Q/DQ pairs where the plan says int8."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec import extras
from edgec.errors import RuntimeFailure
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
from edgec.lowering.openvino_steps import OpenVinoProfiler, runtime_info

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgec.graph.plan import PrecisionPlan

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
SETTINGS = ("INFERENCE_PRECISION_HINT", "DYNAMIC_QUANTIZATION_GROUP_SIZE")
"""The properties of the runtime that a model may set. Manifests come from anywhere, and other properties name files and
caches."""
PRODUCTS = ("FullyConnected", "MatMul", "Convolution", "ScaledDotProductAttention", "Gemm")


class OpenVino(Lowering):
    """OpenVINO on a CPU: `model.xml` and `model.bin`, converted from the hub graph with the plan's Q/DQ pairs."""

    name = "openvino"
    title = "OpenVINO"
    precisions = ("fp32", "bf16", "int8")
    int8_kinds = ("linear", "convolution")
    per_token = True

    def availability(self) -> Availability:
        """Whether OpenVINO can be imported."""
        return Availability.of("openvino")

    def lower(self, hub: ir.Model, plan: PrecisionPlan, directory: Path) -> LoweredModel:
        """Writes `model.xml` and `model.bin`. `settings` are the properties of the runtime that the plan needs."""
        import openvino as ov

        from edgec.graph.files import save
        from edgec.graph.operations import operations
        from edgec.graph.passes.quantise import quantised_weight
        from edgec.graph.planned import apply_plan, smoothed
        from edgec.lowering.per_token import compress_products

        # The hint is part of the model: left to itself, OpenVINO runs "f32" as bf16 on CPUs that have it.
        settings = {"INFERENCE_PRECISION_HINT": HINTS[plan.default]}
        with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
            path = Path(folder) / "model.onnx"
            save(apply_plan(hub, plan), path)
            with runtime_errors("OpenVINO refuses the graph."):
                converted = ov.Core().read_model(path)
            if plan.of("int8-per-token"):
                per_token = {
                    operation.name: quantised_weight(operation, plan)
                    for operation in operations(smoothed(hub, plan))
                    if plan.precision_of(operation.name) == "int8-per-token"
                }
                settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = str(compress_products(converted, per_token))
            _name_all(converted)
            ov.save_model(converted, directory / "model.xml", compress_to_fp16=False)
        return LoweredModel(self.name, directory, "model.xml", ("model.bin", "model.xml"), settings)

    def load(self, model: LoweredModel, *, threads: int | None = None) -> Runner:
        """Compiles the model for the CPU."""
        return _Runner(model, threads or usable_cores())

    def profiler(self, model: LoweredModel, *, threads: int | None = None) -> Profiler:
        """Compiles the model with performance counters."""
        runner = _Runner(model, threads or usable_cores(), PERF_COUNT=True)
        return OpenVinoProfiler(runner, runner.compiled, runner.request, model.directory / model.entry)


class _Runner(Runner):
    def __init__(self, model: LoweredModel, threads: int, **more: Any) -> None:
        with extras.named("openvino"):
            import openvino as ov
        settings = {name: str(model.settings[name]) for name in SETTINGS if name in model.settings}
        properties = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", **settings, **more}
        with runtime_errors("OpenVINO refuses the model.", model.entry):
            core = ov.Core()
            read = core.read_model(model.directory / model.entry)
            # The file's names: a compiled output also has the names of tensors that were fused into it.
            self._outputs = [output.get_any_name() for output in read.outputs]
            self.compiled: Any = core.compile_model(read, "CPU", properties)
            self._shape = tuple(int(side) for side in self.compiled.inputs[0].shape)
        self.request = self.compiled.create_infer_request()
        self.threads = int(self.compiled.get_property("INFERENCE_NUM_THREADS"))  # it takes no more than there are cores
        self.execution_precision = _execution_precision(self.compiled)

    def __call__(self, frames: Frames) -> Features:
        require_frames(frames, self._shape)
        try:
            values = self.request.infer([frames], share_inputs=True)
        except Exception as error:
            raise RuntimeFailure("OpenVINO failed on a frame.", evidence=first_lines(error)) from error
        return {name: np.array(values[index], output_type(values[index].dtype)) for index, name in enumerate(self._outputs)}


def _name_all(model: Any) -> None:
    """Give names to nodes that OpenVINO named by a counter of the process, so that the same graph gives the same bytes."""
    for index, node in enumerate(model.get_ordered_ops()):
        if node.get_friendly_name() == node.get_name():
            node.set_friendly_name(f"{node.get_type_name()}.{index}")


def _execution_precision(compiled: Any) -> str:
    """What the compiled model computes in, read from its execution graph: products by type, most first."""
    types: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ops():
        precision = runtime_info(node, "runtimePrecision").lower()
        if precision and runtime_info(node, "layerType").startswith(PRODUCTS):
            types[precision] += 1
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return f"{', '.join(f'{kind} {count}' for kind, count in types.most_common())}; rest {hint}"
