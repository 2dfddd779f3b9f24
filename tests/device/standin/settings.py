"""How the stand-in is told what to be. Environment variables, because trtexec's command line is under test.

STANDIN_TENSORRT   the version that it plays (default 10.3.0)
STANDIN_COMPUTE    the GPU's compute capability (default 8.7)
STANDIN_FAULTS     what it does wrong, separated by commas: FAULT for every graph, or FAULT@STEM for model/STEM.onnx alone.
                   While building: crash, killed, hang, disk-full, out-of-memory, no-engine, slow.
                   While running: garbage, constant, blind, nan, infinite, shape, missing, torn, crash-run, hang-run, no-times.
                   Anywhere: transfers (forgets data transfers), no-gpu, nonsense (is no trtexec at all).
STANDIN_LATENCY    milliseconds a run by stem, `int8=2,fp16=3`: no graph is run to find out
STANDIN_MEMO       a folder in which outputs are kept by graph and frames: the second time no runtime is started
STANDIN_PACKAGES   where onnxruntime is, for a Python that does not know
STANDIN_BUILDING   seconds that building takes (default 0)

It is started a dozen times for each deployment that is tested: it imports nothing that it can do without, and nothing before it
is needed. `pathlib`, `json`, `dataclasses` and `typing` alone take three times as long as all that it does.
"""

from __future__ import annotations

import os

SLOW_S = 3.0


class Settings:
    def __init__(self) -> None:
        major, minor, patch = (int(part) for part in os.environ.get("STANDIN_TENSORRT", "10.3.0").split("."))
        latency = (entry.split("=") for entry in os.environ.get("STANDIN_LATENCY", "").split(",") if entry)
        self.version: tuple[int, int, int] = (major, minor, patch)
        self.compute: str = os.environ.get("STANDIN_COMPUTE", "8.7")
        self.faults: tuple[str, ...] = tuple(filter(None, os.environ.get("STANDIN_FAULTS", "").split(",")))
        self.latency: dict[str, float] = {stem: float(milliseconds) for stem, milliseconds in latency}
        self.memo: str | None = os.environ.get("STANDIN_MEMO")
        self.building: float = float(os.environ.get("STANDIN_BUILDING", "0"))

    def fault(self, *names: str, stem: str = "") -> str | None:
        """The first of these faults that this graph is to have."""
        return next((name for name in names if name in self.faults or f"{name}@{stem}" in self.faults), None)
