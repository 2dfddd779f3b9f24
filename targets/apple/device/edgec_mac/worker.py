"""What needs Core ML, in a process of its own: `edgec-mac.pyz --worker`. If Core ML hangs or dies, only one compute unit is lost.

It reads commands, one JSON object per line, on standard input and answers each with one on its standard output:

    {"do": "check"}
        → {"versions": {...}, "compiled_part": PATH}: of coremltools, and its file that calls Core ML
    {"do": "compile", "package": PATH, "to": PATH}
        → {"compile_ms"}
    {"do": "load", "model": PATH, "units": NAME, "function": NAME or null, "frames": PATH, "inputs": [...]}
        → {"import_ms", "load_ms", "first_inference_ms"}: PATH is a compiled model; runs use the golden frames in turn
    {"do": "outputs", "batches": [[...]], "to": PATH}
        → {}: runs all golden frames and writes the package's outputs into an .npz file
    {"do": "plan"}                    → {"by_device": {...}, "fallen": [...]}
    {"do": "warm"}                    → {"runs_ms": [...]}
    {"do": "run", "iterations": K}    → {"samples_ms": [...], "cpu_ms"}: after a lead-in that is not recorded
    {"do": "finish"}                  → {"peak_rss_bytes"}, and the process ends

An error is answered with {"error": TEXT}, and the process ends. It also ends when standard input does, because its parent is
gone.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import json
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from edgec_onboard.statistics import LEAD_IN_MS, warmed_up

from edgec_mac.placement import read_plan

PACKAGES = ("coremltools", "numpy", "pillow")
_PROXY = "coremltools.libcoremlpython"


class Session:
    """The commands, and the model that they work on. Each method returns the answer's fields, as the top of this file says."""

    def __init__(self) -> None:
        self.model: Any = None
        self.images: list[Any] = []
        self.inputs: list[str] = []
        self.turn = 0
        self.where: tuple[str, str, str | None] = ("", "", None)

    def check(self) -> dict[str, Any]:
        """Import everything that is needed."""
        _coremltools()
        importlib.import_module("numpy")
        importlib.import_module("PIL.Image")
        return {"versions": _versions(), "compiled_part": getattr(importlib.import_module(_PROXY), "__file__", None) or ""}

    def compile(self, package: str, to: str) -> dict[str, Any]:
        """Compile a package."""
        _coremltools()
        utils = importlib.import_module("coremltools.models.utils")
        began = time.perf_counter_ns()
        utils.compile_model(package, to)
        return {"compile_ms": _since(began)}

    def load(self, model: str, units: str, function: str | None, frames: str, inputs: list[str]) -> dict[str, Any]:
        """Load a compiled model and run it once."""
        began = time.perf_counter_ns()
        ct = _coremltools()
        imported_ms = _since(began)
        import numpy as np
        from PIL import Image

        began = time.perf_counter_ns()
        self.model = ct.models.CompiledMLModel(model, compute_units=ct.ComputeUnit[units], function_name=function)
        loaded_ms = _since(began)
        self.where = (model, units, function)
        self.images = [Image.fromarray(frame) for frame in np.load(frames)]
        self.inputs = inputs
        first_ms = self.once()
        # What import and load allocated lives as long as the process: garbage collection during runs need not visit it.
        gc.collect()
        gc.freeze()
        return {"import_ms": imported_ms, "load_ms": loaded_ms, "first_inference_ms": first_ms}

    def once(self) -> float:
        """One run, in milliseconds: images in, features out."""
        count = len(self.images)
        batch = {name: self.images[(self.turn + place) % count] for place, name in enumerate(self.inputs)}
        self.turn = (self.turn + len(self.inputs)) % count
        began = time.perf_counter_ns()
        self.model.predict(batch)
        return _since(began)

    def outputs(self, batches: Sequence[Sequence[int]], to: str) -> dict[str, Any]:
        """Run batches of golden frames and write what comes out."""
        import numpy as np

        rows: dict[int, dict[str, Any]] = {}
        for batch in batches:
            outputs = self.model.predict({name: self.images[index] for name, index in zip(self.inputs, batch, strict=True)})
            for row, index in enumerate(batch):
                rows.setdefault(index, {name: _as_recorded(np.asarray(value))[row] for name, value in outputs.items()})
        arrays: dict[str, Any] = {name: np.stack([rows[index][name] for index in sorted(rows)]) for name in rows[0]}
        np.savez(to, **arrays)
        return {}

    def plan(self) -> dict[str, Any]:
        """Ask Core ML where operations will run."""
        model, units, function = self.where
        return read_plan(_coremltools(), model, units, function)

    def warm(self) -> dict[str, Any]:
        """Run until latencies are stable."""
        runs: list[float] = []
        while not warmed_up(runs):
            runs.append(self.once())
        return {"runs_ms": runs}

    def run(self, iterations: int) -> dict[str, Any]:
        """Measure so many runs, after a lead-in that is not recorded."""
        lead_in_ms = 0.0
        while lead_in_ms < LEAD_IN_MS:
            lead_in_ms += self.once()
        recorded = time.process_time_ns()
        samples = [self.once() for _ in range(iterations)]
        return {"samples_ms": samples, "cpu_ms": (time.process_time_ns() - recorded) / 1e6}

    def finish(self) -> dict[str, Any]:
        """The peak memory of this process."""
        # macOS counts bytes here; Linux, where only tests run, kibibytes.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"peak_rss_bytes": peak * (1 if sys.platform == "darwin" else 1024)}


def main() -> int:
    """Answer commands until the input ends; returns the exit code."""
    # Ctrl-C reaches the whole process group, but the parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Answers have a stream of their own: what Core ML prints to descriptor 1 goes to standard error.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    session = Session()
    for line in sys.stdin:
        command = json.loads(line)
        action = command.pop("do")
        handler: Callable[..., dict[str, Any]] = getattr(session, action)
        try:
            answer = handler(**command)
        except Exception as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answers, flush=True)
            return 1
        print(json.dumps(answer), file=answers, flush=True)
        if action == "finish":
            break
    return 0


def _coremltools() -> Any:
    """Raises `ImportError`, which says why, if the part that calls Core ML is missing: pip then found no wheel for this Python
    and installed the rest, which can be imported all the same."""
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    ct = importlib.import_module("coremltools")
    importlib.import_module("coremltools.models")
    importlib.import_module(_PROXY)
    return ct


def _as_recorded(value: Any) -> Any:
    """As edgec records outputs: labels in int32, all else in float32."""
    return value.astype("int32" if value.dtype.kind in "iu" else "float32")


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _since(began: int) -> float:
    return (time.perf_counter_ns() - began) / 1e6
