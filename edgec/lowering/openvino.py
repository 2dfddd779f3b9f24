"""OpenVINO on a CPU: an IR made from the hub graph, with Q/DQ pairs where the plan says int8."""

from __future__ import annotations

import tempfile
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
from edgec.lowering.openvino_steps import OpenVinoProfiler
from edgec.onboard.runtimes import OpenVinoModel

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgec.graph.plan import PrecisionPlan

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


class OpenVino(Lowering):
    """OpenVINO on a CPU: `model.xml` and `model.bin`, converted from the hub graph with the plan's Q/DQ pairs."""

    name = "openvino"
    title = "OpenVINO"
    precisions = ("fp32", "bf16", "int8")
    # Told to compute in fp16, OpenVINO 2026.4 does so on an Arm CPU that has it. On x86-64 the same files run in an fp16 that
    # loses a hundredth as much (AVX512-FP16), in bf16 (other AVX-512), or not at all (AVX2): see docs/cpu-boards.md.
    elsewhere = ("fp16",)
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
                group = settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = str(compress_products(converted, per_token))
                # What the IR can say, it says. OpenVINO 2026.4 would not obey a precision there.
                converted.set_rt_info(group, ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])
            _name_all(converted)
            ov.save_model(converted, directory / "model.xml", compress_to_fp16=False)
        return LoweredModel(self.name, directory, "model.xml", ("model.bin", "model.xml"), settings)

    def open_with(self, model: LoweredModel) -> str:
        """The precision: left to itself, OpenVINO runs float32 as bf16 on CPUs that have it, whatever the IR says."""
        given = ", ".join(f'"{name}": "{value}"' for name, value in sorted(model.settings.items()))
        return (
            f'OpenVINO must be told: core.compile_model(model, "CPU", {{{given}}}). A plain compile_model computes in the type '
            "that the CPU prefers, which may not be what was verified"
        )

    def load(self, model: LoweredModel, *, threads: int | None = None) -> Runner:
        """Compiles the model for the CPU."""
        return _Runner(model, threads or usable_cores())

    def profiler(self, model: LoweredModel, *, threads: int | None = None) -> Profiler:
        """Compiles the model with performance counters."""
        runner = _Runner(model, threads or usable_cores(), PERF_COUNT=True)
        return OpenVinoProfiler(runner, runner.model.compiled, runner.model.request, model.directory / model.entry)


class _Runner(Runner):
    def __init__(self, model: LoweredModel, threads: int, **more: Any) -> None:
        with extras.named("openvino"):
            import openvino as ov
        with runtime_errors("OpenVINO refuses the model.", model.entry):
            self.model = OpenVinoModel(ov, model.directory / model.entry, model.settings, threads, **more)
        self.threads, self.execution_precision = self.model.threads, self.model.execution_precision

    def __call__(self, frames: Frames) -> Features:
        require_frames(frames, self.model.shape)
        try:
            values = self.model(frames)
        except Exception as error:
            raise RuntimeFailure("OpenVINO failed on a frame.", evidence=first_lines(error)) from error
        return {name: np.array(value, output_type(value.dtype)) for name, value in zip(self.model.outputs, values, strict=True)}


def _name_all(model: Any) -> None:
    """Give names to nodes that OpenVINO named by a counter of the process, so that the same graph gives the same bytes."""
    for index, node in enumerate(model.get_ordered_ops()):
        if node.get_friendly_name() == node.get_name():
            node.set_friendly_name(f"{node.get_type_name()}.{index}")
