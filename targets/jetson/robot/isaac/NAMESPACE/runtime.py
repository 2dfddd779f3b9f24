"""The graph in TensorRT, through NVIDIA's trtexec: enough for the golden frames, and much too slow for a camera."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .contract import INPUT, OUTPUTS
from .errors import Error, ExitCode
from .frame import Pixels

_JETPACK = "/usr/src/tensorrt/bin/trtexec"


class Runtime:
    """A plan beside the graph, with the ending `.plan`. It is made if there is none, which takes minutes."""

    threads = 1

    def __init__(self, path: Path, threads: int) -> None:
        """Raises `Error` if trtexec is missing, or makes no plan."""
        self.plan = path.with_suffix(".plan").resolve()
        if not self.plan.is_file():
            work = self.plan.with_suffix(".part")
            flags = [f"--onnx={path.resolve()}", f"--saveEngine={work}", "--skipInference"]
            done = _trtexec([*flags, "--stronglyTyped"], path.parent)
            if "Unknown option: --stronglyTyped" in done.stdout:  # from TensorRT 11 on every network is
                done = _trtexec(flags, path.parent)
            if done.returncode or not work.is_file():
                raise Error(ExitCode.RUNTIME, "TensorRT makes no plan of the graph.", _last(done.stdout))
            work.replace(self.plan)

    @staticmethod
    def version() -> str:
        """There is no cheap way to ask trtexec."""
        return "TensorRT"

    def infer(self, frames: Pixels) -> Sequence[Any]:
        """One frame; an array an output, in the order of `OUTPUTS`."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            planes = np.ascontiguousarray(frames.transpose(0, 3, 1, 2), np.float32)
            (folder / "frames.bin").write_bytes(planes.tobytes())
            flags = [f"--loadEngine={self.plan}", f"--loadInputs={INPUT.name}:frames.bin", "--exportOutput=outputs.json"]
            done = _trtexec([*flags, "--iterations=1", "--warmUp=0", "--duration=0", "--avgRuns=1"], folder)
            try:
                written = {each["name"]: each["values"] for each in json.loads((folder / "outputs.json").read_text())}
                return [np.array(written[facts.name], facts.dtype).reshape(facts.shape) for facts in OUTPUTS]
            except (OSError, ValueError, KeyError, TypeError) as error:
                # Also where a value is no number.
                raise Error(
                    ExitCode.RUNTIME, "TensorRT failed on a golden frame.", f"{error}; {_last(done.stdout)}",
                    f"if the plan is of another TensorRT, remove {self.plan}",
                ) from error  # fmt: skip


def _trtexec(flags: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    program = os.environ.get("TRTEXEC") or shutil.which("trtexec") or _JETPACK
    try:
        return subprocess.run(
            [program, *flags], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    except OSError as error:
        raise Error(
            ExitCode.RUNTIME, "There is no trtexec.", f"{program}: {error.strerror}",
            "install libnvinfer-bin, or name it in the environment's TRTEXEC",
        ) from error  # fmt: skip


def _last(text: str) -> str:
    return " / ".join(text.strip().splitlines()[-3:])
