"""Outputs and times as trtexec writes them.

From NVIDIA/TensorRT, samples/common/sampleReporting.cpp, exportJSONOutput and exportJSONTrace.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from edgec.lowering.tensorrt.engine.running import Binding, FrameTimes


def write_outputs(path: Path, bindings: Sequence[Binding]) -> None:
    """Write outputs as trtexec does: floats with nine digits, which identify a float32, integers whole, NaN and infinities as
    Python's JSON spells them."""
    entries = []
    for binding in bindings:
        values = ", ".join(_number(value) for value in binding.array.ravel().tolist())
        dimensions = "x".join(map(str, binding.array.shape))
        entries.append(f'{{ "name" : {json.dumps(binding.name)}, "dimensions" : "{dimensions}", "values" : [ {values} ] }}')
    path.write_text("[\n" + ",\n".join(entries) + "\n]\n", encoding="utf-8")


def write_times(path: Path, runs: Sequence[FrameTimes]) -> None:
    """Write each run's times in milliseconds, as trtexec does."""
    entries = [
        {
            "startH2dMs": run.start,
            "h2dMs": run.copy_in,
            "computeMs": run.compute,
            "d2hMs": run.copy_out,
            "latencyMs": round(run.latency, 6),
        }
        for run in runs
    ]
    path.write_text("[\n" + ",\n".join(map(json.dumps, entries)) + "\n]\n", encoding="utf-8")


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    text = f"{value:.9g}"
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text)
