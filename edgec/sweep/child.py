"""The sweep's side of a cell's process: it starts it, reads its events, ends it, and says what became of it. Runs here or on a
scheduler's worker."""

from __future__ import annotations

import json
import os
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from edgec.durable import DISK_FULL
from edgec.errors import ArtefactError
from edgec.onboard.worker import describe_exit
from edgec.records.reading import printable
from edgec.request import BuildRequest
from edgec.untrusted import Refused, parse_json_object

REQUESTS = TypeAdapter(BuildRequest)
"""Requests as JSON has them, and back."""
LOGS = "logs"
ENDING = ".edgec"
_POLL_S = 0.2
_GRACE_S = 10.0
MOST_LINE_BYTES, MOST_BYTES = 1 << 20, 16 << 20
"""Of one event, and of all events of a cell's process. A build writes about forty, of a hundred bytes each."""
MOST_LOG_BYTES = 1 << 30
"""What a build and its runtimes may print into the log."""

_Text = Annotated[str, Field(max_length=1 << 16)]


class _Event(BaseModel):
    """What `edgec.sweep.cell` writes: a stage that begins, that it measures alone, or how it ended."""

    model_config = ConfigDict(strict=True, frozen=True)

    event: _Text
    title: _Text = ""
    exit_code: int = Field(default=1, ge=1, le=255)
    error: _Text = ""
    detail: list[_Text] = Field(default=[], max_length=1000)
    build_key: _Text = ""
    reused: bool = False


class Stopped(Exception):
    """The cell is no longer wanted, and its process has been ended."""


class Outcome(BaseModel):
    """What became of a cell. `exit_code` 0: the artefact is there, and `build_key` is its own. Otherwise `error` says what went
    wrong and `detail` on what evidence. `alone` says that no other cell of a sweep worked on the machine while this one
    measured."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    exit_code: int = Field(ge=0, le=255)
    build_key: _Text = ""
    reused: bool = False
    alone: bool = False
    error: _Text = ""
    detail: tuple[_Text, ...] = Field(default=(), max_length=1000)
    seconds: float = Field(default=0.0, ge=0, le=1e9)
    machine: _Text = ""


def outcome_from(data: Any) -> Outcome:
    """From what another machine sent. Raises `Refused` if that is no outcome."""
    try:
        return Outcome.model_validate({**data, "detail": tuple(data["detail"])})
    except (ValidationError, TypeError, KeyError) as error:
        raise Refused(f"is no outcome of a cell: {str(error)[:200]}") from None


def request_as_json(request: BuildRequest) -> dict[str, Any]:
    """The request as JSON holds it."""
    document: dict[str, Any] = REQUESTS.dump_python(request, mode="json")
    return document


def run_cell(
    request: BuildRequest, still_wanted: Callable[[], bool], on_stage: Callable[[str], None] = lambda title: None
) -> Outcome:
    """Builds in a process of its own, with its log in `logs/` beside the artefact; calls `on_stage` with the title of each stage.

    Raises `Stopped` soon after `still_wanted` turned false, the process being ended by then; `ArtefactError` if the log cannot be
    written.
    """
    assert request.output is not None
    folder, name = request.output.parent / LOGS, request.output.name.removesuffix(ENDING)
    began = time.monotonic()
    last: _Event | None = None
    alone, refused = False, ""
    path = folder / f"{name}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = path.open("wb")
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
            process.stdin.write(json.dumps(request_as_json(request)).encode() + b"\n")
        for event in _events(process.stdout.fileno(), still_wanted, path):
            if event.event == "stage":
                on_stage(event.title)
            alone |= event.event == "alone"
            last = event
        code = _wait(process)
    except Refused as error:
        code, last, refused = 1, None, str(error)
    finally:
        _end(process)
    seconds = round(time.monotonic() - began, 2)
    machine = os.uname().nodename
    ended: dict[str, Any] = {"seconds": seconds, "machine": machine}
    if refused:
        return Outcome(exit_code=1, error=f"the build's process {refused}, and was ended", **ended)
    if code == 0 and last is not None and last.event == "done":
        return Outcome(exit_code=0, build_key=last.build_key, reused=last.reused, alone=alone, **ended)
    if last is not None and last.event == "failed":
        return Outcome(exit_code=last.exit_code, alone=alone, error=last.error, detail=tuple(last.detail), **ended)
    return Outcome(exit_code=code if 0 < code < 128 else 1, error=f"the build's process {describe_exit(code)}", **ended)


def shown_command(request: BuildRequest) -> str:
    """`edgec build` that does the same, for people to repeat."""
    words = ["edgec", "build", request.checkpoint, "--target", request.target, "--input-size", str(request.size)]
    words += ["--precision", request.precision, "--min-fidelity", f"{request.min_fidelity:g}", "--effort", request.effort]
    words += ["--iterations", str(request.iterations), "-o", str(request.output)]
    for option, value in (("--calibration", request.calibration), ("--validation", request.validation)):
        words += [option, value] if value else []
    words += ["--force"] if request.force else []
    return printable(shlex.join(words))


def _events(descriptor: int, still_wanted: Callable[[], bool], log: Path) -> Iterator[_Event]:
    """The process's events. Raises `Stopped`, and `Refused` for events that no cell writes or a log that is too long."""
    unread, received = b"", 0
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not still_wanted():
                raise Stopped
            if log.stat().st_size > MOST_LOG_BYTES:
                raise Refused(f"printed more than {MOST_LOG_BYTES:,} bytes")
            if not selector.select(_POLL_S):
                continue
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                return
            *lines, unread = (unread + chunk).split(b"\n")
            received += len(chunk)
            if received > MOST_BYTES or len(unread) > MOST_LINE_BYTES:
                raise Refused("wrote more events than any build does")
            yield from map(_event, lines)


def _event(line: bytes) -> _Event:
    try:
        return _Event.model_validate(parse_json_object(line))
    except (Refused, ValidationError):
        raise Refused("wrote an event that no build writes") from None


def _wait(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        return 1


def _end(process: subprocess.Popen[bytes]) -> None:
    """Closing its input interrupts it. If it goes on, it is killed with all that it started."""
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
