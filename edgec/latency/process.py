"""Processes that measure, each with one candidate."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.latency.answers import read_answer
from edgec.lowering.base import LoweredModel
from edgec.onboard import worker

FRAME_BYTES = 32 << 20
"""Frames are part of a worker's memory, which is reported: there are enough of them to vary, and few enough not to matter
there."""
ANSWER_SECONDS = 900.0
"""How long a worker may take for one command: a large model on a small board compiles for minutes."""


def save_frames(scratch: Path, frames: NDArray[np.uint8]) -> Path:
    """Write frames, uint8 [M, N, H, W, 3], for workers to load, as many as `FRAME_BYTES` hold; returns the file."""
    path = scratch / "frames.npy"
    np.save(path, frames[: max(1, FRAME_BYTES // frames[0].nbytes)])
    return path


class Helper(worker.Worker):
    """A process that runs `python -m MODULE`. `scratch` is an existing directory, which several helpers may share. `environment`
    is added to this process's own."""

    def __init__(self, module: str, name: str, scratch: Path, environment: Mapping[str, str] | None = None) -> None:
        # `-m` puts the working directory on the module path: start where there are no modules, not where the user stands.
        command = [sys.executable, "-m", module, str(time.monotonic_ns())]
        super().__init__(command, scratch / f"{name}.stderr", read_answer, cwd=scratch, environment=environment)

    def ask(self, command: Mapping[str, Any], seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """As the base class, with a longer time limit."""
        return super().ask(command, seconds)

    def answer(self, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """As the base class, with a longer time limit."""
        return super().answer(seconds)


class Worker(Helper):
    """A process that holds one candidate: `edgec.latency.worker`."""

    def __init__(self, model: LoweredModel, name: str, scratch: Path) -> None:
        super().__init__("edgec.latency.worker", name, scratch)
        self._model = model

    def load(self, frames: Path, threads: int) -> dict[str, Any]:
        """Load the model, and frames from a file of uint8 [M, N, H, W, 3]; returns the worker's answer. Raises
        `WorkerProblem`."""
        return self.ask({"do": "load", "model": self._model.to_json(), "frames": str(frames), "threads": threads})
