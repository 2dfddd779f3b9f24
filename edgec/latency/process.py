"""Workers that measure: processes of ours with one candidate each."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgec.latency.answers import read_answer
from edgec.lowering.base import LoweredModel
from edgec.onboard import worker

ANSWER_SECONDS = 900.0
"""How long a worker may think about one command: a large model on a small board compiles for minutes."""


class Helper(worker.Worker):
    """`python -m MODULE`. `scratch` is an existing directory of the caller's; helpers share it. `environment` is set beside what
    we have."""

    def __init__(self, module: str, name: str, scratch: Path, environment: Mapping[str, str] | None = None) -> None:
        # `-m` puts the working directory on the module path: start where there are no modules, not where the user stands.
        command = [sys.executable, "-m", module, str(time.monotonic_ns())]
        super().__init__(command, scratch / f"{name}.stderr", read_answer, cwd=scratch, environment=environment)

    def ask(self, command: Mapping[str, Any], seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        return super().ask(command, seconds)

    def answer(self, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        return super().answer(seconds)


class Worker(Helper):
    """Holds one candidate: `edgec.latency.worker`."""

    def __init__(self, model: LoweredModel, name: str, scratch: Path) -> None:
        super().__init__("edgec.latency.worker", name, scratch)
        self._model = model

    def load(self, frames: Path, threads: int) -> dict[str, Any]:
        model = {
            "runtime": self._model.runtime,
            "directory": str(self._model.directory.resolve()),
            "entry": self._model.entry,
            "files": list(self._model.files),
            "settings": self._model.settings,
        }
        return self.ask({"do": "load", "model": model, "frames": str(frames), "threads": threads})
