"""Finishing an artefact on this machine: its own program, which boards run, builds, verifies and measures engines here.

Needs an NVIDIA GPU and TensorRT: NVIDIA's trtexec, or else the `tensorrt` package. No figure from here is `measured on target`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgec.errors import RuntimeFailure, TargetError, of_exit_code
from edgec.progress import Progress, Silent

TRTEXEC = "/usr/src/tensorrt/bin/trtexec"
"""Where NVIDIA's packages and containers have it."""
MODULE = "edgec.lowering.tensorrt.engine"
SECONDS = 10.0
ITERATIONS = 200
"""How long each engine is measured, and how often it runs at least."""
_PROBE_S = 120
_GPU = "Selected Device: "


@dataclass(frozen=True)
class Driver:
    """What builds and runs engines here: a command that takes trtexec's options, and the name of the GPU that it uses."""

    command: tuple[str, ...]
    gpu: str

    def executable(self, folder: Path) -> Path:
        """The command as one executable file, which is written into `folder` if the command has several words."""
        if len(self.command) == 1:
            return Path(self.command[0])
        path = folder / "trtexec"
        path.write_text(f'#!/bin/sh\nexec {shlex.join(self.command)} "$@"\n', encoding="utf-8")
        path.chmod(0o755)
        return path


@dataclass(frozen=True)
class Finished:
    """`plan` is the fastest engine that reproduces the golden features; `table` is the text of the table of all engines."""

    plan: Path
    measurements: Path
    table: str

    @property
    def report(self) -> Path:
        """The path of the report of the measurements, which the program does not write."""
        return self.measurements.with_name("report.json")


def find_driver() -> Driver:
    """NVIDIA's trtexec, or else edgec's own through the `tensorrt` package. Raises `TargetError` if there is neither, or no
    GPU."""
    trtexec = TRTEXEC if os.access(TRTEXEC, os.X_OK) else shutil.which("trtexec")
    if trtexec:
        command: tuple[str, ...] = (trtexec,)
    elif importlib.util.find_spec("tensorrt"):
        command = (sys.executable, "-m", MODULE)
    else:
        raise TargetError(
            "There is no TensorRT here to build an engine with.",
            evidence=[f"looked for {TRTEXEC}", "looked for trtexec on the PATH", "looked for the Python package tensorrt"],
            remedy="pip install tensorrt, or run in a container of NVIDIA's that has it; without --engine the artefact is built "
            "all the same, and the board finishes it",
        )
    # When it loads an engine that does not exist, it prints which GPU it uses, and stops.
    lines = _output_lines([*command, "--device=0", "--loadEngine=/no/such/engine"])
    gpu = next((line.partition(_GPU)[2].strip() for line in lines if _GPU in line), "")
    if not gpu:
        raise TargetError(
            "TensorRT finds no GPU here to build an engine for.",
            evidence=[shlex.join(command), *lines[-3:]],
            remedy="look whether nvidia-smi shows a GPU, and start containers with --gpus all; without --engine the artefact is "
            "built all the same, and the board finishes it",
        )
    return Driver(command, gpu)


def finish(program: Path, root: Path, driver: Driver, progress: Progress | None = None) -> Finished:
    """Let an artefact's program (`device/edgec-device.pyz`) do under `root` all that it does on a board. What is there already is
    reused: a run that Ctrl-C or a signal ended goes on from there.

    Raises the program's own error as an error of edgec's, `VerificationError` if no engine reproduces the golden features.
    """
    progress = progress or Silent()
    root.mkdir(parents=True, exist_ok=True)
    arguments = ("--root", str(root), "--trtexec", str(driver.executable(root)))
    command = [sys.executable, str(program), "run-all", "--json", "--here", *arguments]
    command += ["--seconds", f"{SECONDS:g}", "--iterations", str(ITERATIONS)]
    events: dict[str, dict[str, Any]] = {}
    with progress.stage(f"build, verify and measure engines on {driver.gpu}") as step, _started(command) as process:
        for line in process.stdout or ():
            event = json.loads(line)
            events[event["event"]] = event
            if event["event"] == "problem":
                progress.note(f"{event['variant']}, {event['step']}: {event['what']} {' '.join(event['evidence'][:2])}")
            doing = event.get("detail") or event.get("text", "").strip().partition("\n")[0]
            step(0, doing=" ".join(filter(None, (event.get("step"), event.get("variant"), doing))))
    if process.returncode == 0:
        measured = Path(events["measured"]["path"])
        return Finished(measured.parent / "current" / "engine.plan", measured, events["table"]["text"].strip("\n"))
    if "error" not in events:
        raise RuntimeFailure(
            "The artefact's program ended without a result.",
            evidence=[shlex.join(command), f"exit code {process.returncode}"],
            remedy="run the same command again: it goes on from there; if it happens again, report it with the lines above",
        )
    error = events["error"]
    raise of_exit_code(error["exit_code"])(error["what"], evidence=error["evidence"], remedy=error["remedy"])


@contextmanager
def _started(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A running program that prints a line at a time. It is ended when the block is left, however that happens."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        try:
            yield process
            process.wait()
        finally:
            process.terminate()  # it ends trtexec on its way out
            process.wait()


def _output_lines(command: Sequence[str]) -> list[str]:
    """The lines that a command printed, whatever its exit code."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_PROBE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [str(error)]
    return [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]
