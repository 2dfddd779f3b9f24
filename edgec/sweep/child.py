"""The sweep's end of a cell's process: start it, hear it, end it, say what became of it. Runs here or on a scheduler's worker."""

from __future__ import annotations

import dataclasses
import json
import os
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from edgec.durable import DISK_FULL
from edgec.errors import ArtefactError
from edgec.latency.process import describe_exit
from edgec.report.records import printable
from edgec.request import BuildRequest

LOGS = "logs"
ENDING = ".edgec"
_POLL_S = 0.2
_GRACE_S = 10.0


class Stopped(Exception):
    """Nobody wants the cell any more; its process is ended."""


@dataclass(frozen=True)
class Outcome:
    """What became of a cell. `exit_code` 0: the artefact is there, and `build_key` is its own. Else `error` is the first line of
    what went wrong and `detail` what it rests on. `alone` says that it had the machine's sweeps to itself while it measured."""

    exit_code: int
    build_key: str = ""
    reused: bool = False
    alone: bool = False
    error: str = ""
    detail: tuple[str, ...] = ()
    seconds: float = 0.0
    machine: str = ""


def asked_of(request: BuildRequest) -> dict[str, Any]:
    """The request as JSON holds it."""
    return {
        **dataclasses.asdict(request),
        "size": [request.size.height, request.size.width],
        "more_sizes": [],
        "output": str(request.output),
    }


def run_cell(request: BuildRequest, wanted: Callable[[], bool], hear: Callable[[str], None] = lambda title: None) -> Outcome:
    """Builds in a process of its own, with its log in `logs/` beside the artefact. `hear` is told each stage.

    Raises `Stopped` soon after `wanted` turned false, the process being ended by then; `ArtefactError` if the log cannot be
    written.
    """
    assert request.output is not None
    folder, name = request.output.parent / LOGS, request.output.name.removesuffix(ENDING)
    began = time.monotonic()
    last: dict[str, Any] = {}
    alone = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = (folder / f"{name}.log").open("wb")
        log.write(f"{shown_command(request)}\n\n".encode())
        log.flush()
    except OSError as error:
        full = error.errno in DISK_FULL
        raise ArtefactError(
            f"The log of {name} cannot be written{': the disk is full' if full else ''}.",
            evidence=str(error),
            remedy="free some space" if full else "choose another folder with -o",
        ) from error
    with log:
        process = subprocess.Popen(
            [sys.executable, "-m", "edgec.sweep.cell"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            # `-m` puts the working directory on the module path: one that holds logs only.
            cwd=folder,
            bufsize=0,
            # Ctrl-C goes to all of a terminal's processes; the sweep ends its own.
            start_new_session=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(asked_of(request)).encode() + b"\n")
        for event in _events(process.stdout.fileno(), wanted):
            if event["event"] == "stage":
                hear(event["title"])
            alone |= event["event"] == "alone"
            last = event
        code = _wait(process)
    finally:
        _end(process)
    seconds = round(time.monotonic() - began, 2)
    machine = os.uname().nodename
    if code == 0 and last.get("event") == "done":
        return Outcome(0, last["build_key"], last["reused"], alone, seconds=seconds, machine=machine)
    if last.get("event") == "failed":
        return Outcome(
            last["exit_code"], alone=alone, error=last["error"], detail=tuple(last["detail"]), seconds=seconds, machine=machine
        )
    return Outcome(
        code if 0 < code < 128 else 1, error=f"the build's process {describe_exit(code)}", seconds=seconds, machine=machine
    )


def shown_command(request: BuildRequest) -> str:
    """`edgec build` that does the same, for people to repeat."""
    words = ["edgec", "build", request.checkpoint, "--target", request.target, "--input-size", str(request.size)]
    words += ["--precision", request.precision, "--min-fidelity", f"{request.min_fidelity:g}", "--effort", request.effort]
    words += ["--iterations", str(request.iterations), "-o", str(request.output)]
    for option, value in (("--calibration", request.calibration), ("--validation", request.validation)):
        words += [option, value] if value else []
    words += ["--force"] if request.force else []
    return printable(shlex.join(words))


def _events(descriptor: int, wanted: Callable[[], bool]) -> Any:
    unread = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not wanted():
                raise Stopped
            if not selector.select(_POLL_S):
                continue
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                return
            *lines, unread = (unread + chunk).split(b"\n")
            yield from map(json.loads, lines)


def _wait(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        return 1


def _end(process: subprocess.Popen[bytes]) -> None:
    """Closing its input interrupts it; what does not heed that is killed, with what it started."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    if process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    process.stdout.close()
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
