"""The steps of an ONNX Runtime session, from the trace that it writes.

Its optimiser names a fused node after one of its parts, with a slash and the fusion at the end, and a node in another layout with
an ending. Nodes that it adds have names of its own, which lead back to no node of the file.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from edgec.errors import RuntimeFailure
from edgec.lowering.base import Profiler, Runner, Step

SOURCE = "ONNX Runtime's profiler, whole microseconds"
TYPES = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "uint8": "int8", "int8": "int8"}

_ENDING = "_kernel_time"
_LAYOUT = "_nchwc"


class OnnxRuntimeProfiler(Profiler):
    """`session` profiles and writes into `folder`, which is removed at the end; `path` is the model's file."""

    source = SOURCE

    def __init__(self, runner: Runner, session: Any, path: Path, folder: tempfile.TemporaryDirectory[str]) -> None:
        super().__init__(runner)
        self._session = session
        self._path = path
        self._folder = folder
        self._runs_before = 0

    def begin(self) -> None:
        """The trace holds all runs; those before this one are skipped."""
        self._runs_before = self.runs

    def end(self) -> tuple[Step, ...]:
        """Ends the profiling and reads the trace."""
        with self._folder:
            trace = Path(self._session.end_profiling())
            try:
                events = json.loads(trace.read_bytes())
                runs = _runs(events)
                if len(runs) != self.runs:
                    raise ValueError(f"{len(runs)} runs in it instead of {self.runs}")
                return _steps(runs[self._runs_before :], _names(self._path))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise RuntimeFailure(
                    "ONNX Runtime's trace of its runs cannot be read.",
                    evidence=f"{type(error).__name__}: {error}",
                    remedy=f"see that there is room in {tempfile.gettempdir()}",
                ) from error


def _runs(events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The kernels of each run. The event of a run itself comes after its kernels."""
    runs: list[list[dict[str, Any]]] = []
    kernels: list[dict[str, Any]] = []
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(_ENDING):
            kernels.append(event)
        elif event["name"] == "model_run":
            runs.append(kernels)
            kernels = []
    return runs


def _steps(runs: list[list[dict[str, Any]]], names: set[str]) -> tuple[Step, ...]:
    totals: dict[str, int] = {}
    for event in (event for run in runs for event in run):
        totals[event["args"]["node_index"]] = totals.get(event["args"]["node_index"], 0) + event["dur"]
    return tuple(
        Step(
            name=event["name"].removesuffix(_ENDING),
            layers=(event["args"]["op_name"].lower(),),
            operations=_operations(event["name"].removesuffix(_ENDING), names),
            execution=f"{event['args']['op_name']} {_first_type(event)}".strip(),
            computes_in=TYPES.get(_first_type(event), ""),
            mean_ms=totals[event["args"]["node_index"]] / 1000 / len(runs),
        )
        for event in runs[-1]
    )


def _operations(name: str, names: set[str]) -> tuple[str, ...]:
    plain = name.removesuffix(_LAYOUT)
    known = next((each for each in (name, plain, plain.rpartition("/")[0]) if each in names), "")
    return (known,) if known else ()


def _first_type(event: dict[str, Any]) -> str:
    first: dict[str, Any] = next(iter(event["args"].get("input_type_shape") or [{}]), {})
    return str(next(iter(first), ""))


def _names(path: Path) -> set[str]:
    """The names of all nodes in the file. Weights in a file beside it are not read."""
    import onnx

    return {node.name for node in onnx.load(path, load_external_data=False).graph.node if node.name}
