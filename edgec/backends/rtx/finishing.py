"""Finishing an artefact on this machine's own GPU: the program for RTX GPUs builds, verifies and measures engines here.

It does so for artefacts of Jetsons, too: their graphs run on any GPU from compute capability 7.5 on, though no figure is then
`measured on target`.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgec.backends.profile import Profile
from edgec.backends.rtx.profile import as_generations
from edgec.backends.rtx.program import rtx_program
from edgec.errors import RuntimeFailure, TargetError, of_exit_code
from edgec.lowering.tensorrt.compiler.machines import INSTALL
from edgec.progress import Progress, Silent

SECONDS = 10.0
ITERATIONS = 200
"""How long each engine is measured, and how often it runs at least."""
_LOOK_S = 120
_NEEDED = "--engine needs NVIDIA's packages and a GPU; without it the artefact is built all the same"


@dataclass(frozen=True)
class Gpu:
    """The GPU that CUDA shows first here."""

    name: str
    compute_capability: str


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


def find_gpu(profiles: Sequence[Profile]) -> Gpu:
    """The GPU for which an engine can be built here. Raises `TargetError` if NVIDIA's packages or a GPU are missing, or if the
    profiles are RTX GPUs' and it is none of those."""
    with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
        program, job, written = (Path(folder, name) for name in ("edgec-rtx.pyz", "job.json", "answer.json"))
        program.write_bytes(rtx_program().archive())
        job.write_text(json.dumps({"do": "look"}), encoding="utf-8")
        command = [sys.executable, str(program), "--runner", str(job)]
        said = _output_lines(command)
        try:
            answer = json.loads(written.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            answer = {"error": "; ".join(said[-2:]) or "NVIDIA's code crashed"}
    if "missing" in answer:
        raise TargetError(
            "There is no TensorRT here to build an engine with.",
            evidence=answer["missing"],
            remedy=f"{INSTALL} (for data-centre GPUs from Hopper on also: pip install tensorrt-cu12); {_NEEDED}",
        )
    if "error" in answer:
        raise TargetError(
            "TensorRT finds no GPU here to build an engine for.",
            evidence=answer["error"],
            remedy=f"look whether nvidia-smi shows a GPU, and start containers with --gpus all; {_NEEDED}",
        )
    gpu = Gpu(str(answer["gpu"]), str(answer["compute_capability"]))
    generations = as_generations(profiles)
    if generations and gpu.compute_capability not in {each.rtx.compute_capability for each in generations}:
        raise TargetError(
            f"This machine's GPU, {gpu.name}, is none of the target's.",
            evidence=[f"compute capability {gpu.compute_capability}", *(each.title for each in generations)],
            remedy="leave out --engine, or name the target that this GPU is",
        )
    return gpu


def finish(artefact: Path, root: Path, gpu: Gpu, progress: Progress | None = None, *, is_target: bool = False) -> Finished:
    """Let the program do under `root` all that it does on its machines. What is there already is reused: a run that Ctrl-C or a
    signal ended goes on from there. `is_target`: the artefact is for this GPU.

    Raises the program's own error as an error of edgec's, `VerificationError` if no engine reproduces the golden features.
    """
    progress = progress or Silent()
    root.mkdir(parents=True, exist_ok=True)
    program = root / "edgec-rtx.pyz"
    program.write_bytes(rtx_program().archive())
    command = [sys.executable, str(program), "run-all", "--json", "--bundle", str(artefact), "--dir", str(root)]
    command += ["--python", sys.executable, "--seconds", f"{SECONDS:g}", "--iterations", str(ITERATIONS)]
    command += [] if is_target else ["--here"]
    events: dict[str, dict[str, Any]] = {}
    with progress.stage(f"build, verify and measure engines on {gpu.name}") as step, _started(command) as process:
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
            "The program that runs engines ended without a result.",
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
            process.terminate()  # it ends NVIDIA's process on its way out
            process.wait()


def _output_lines(command: Sequence[str]) -> list[str]:
    """The lines that a command printed, whatever its exit code."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_LOOK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [str(error)]
    return [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]
