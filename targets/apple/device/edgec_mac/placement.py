"""Where Core ML says that it will run each operation: `MLComputePlan`, macOS 14.4 and later.

See apple/coremltools, coremltools/models/compute_plan.py and compute_device.py. Constants have no device, and are not counted.
The plan is a preference from before anything ran, so a compute unit whose features are wrong can look perfect here.
"""

from __future__ import annotations

import importlib
from collections import Counter
from typing import Any

DEVICES = {
    "MLNeuralEngineComputeDevice": "neural engine",
    "MLGPUComputeDevice": "gpu",
    "MLCPUComputeDevice": "cpu",
}
INTENDED = {"CPU_ONLY": "cpu", "CPU_AND_GPU": "gpu", "CPU_AND_NE": "neural engine", "ALL": "neural engine"}
"""The device that each compute unit is meant to use."""
_MAIN = "main"


def read_plan(ct: Any, compiled: str, units: str, function: str | None) -> dict[str, Any]:
    """How many operations are on each device, and which are not on the intended one: name, kind and device.

    Raises `ValueError` if the plan has no device for any operation of that function: `MLComputePlan.load_from_path` takes no
    function's name, and may answer only for the package's default function.
    """
    plans = importlib.import_module("coremltools.models.compute_plan")
    plan = plans.MLComputePlan.load_from_path(compiled, compute_units=ct.ComputeUnit[units])
    program = plan.model_structure.program
    if program is None:
        raise ValueError("the package holds no ML program")
    functions = program.functions
    name = function or (_MAIN if _MAIN in functions else next(iter(functions)))
    if name not in functions:
        raise ValueError(f"there is no function {name}; there are {', '.join(sorted(functions))}")
    counts: Counter[str] = Counter()
    fallen = []
    for operation in functions[name].block.operations:
        usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
        if usage is None:
            continue
        kind = type(usage.preferred_compute_device).__name__
        device = DEVICES.get(kind, kind)
        counts[device] += 1
        if device != INTENDED[units]:
            outputs = operation.outputs
            named = outputs[0].name if outputs else operation.operator_name
            fallen.append({"operation": named, "kind": operation.operator_name.rpartition(".")[2], "device": device})
    if not counts:
        raise ValueError(f"Core ML's plan has no device for any operation of {name}")
    return {"by_device": dict(counts), "fallen": fallen}
