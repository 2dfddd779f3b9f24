"""Running a program that may take long, crash, or hang, without letting it outlive this process."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TAIL = 40
"""How many of the last lines are kept."""
LONGEST_LINE = 4096
"""Bytes of a line; the rest is dropped."""
MOST_SECONDS = 12 * 3600.0
"""How long a program may run, whatever it prints."""
_BLOCK = 1 << 16
_PR_SET_PDEATHSIG = 1
_TERMINATE_S = 2.0
TICK_S = 0.2


@dataclass(frozen=True)
class Ended:
    """How a program ended. `code` is negative for a signal. `tail` are the last lines. `silent` is set if the program was ended:
    the seconds since its last output."""

    code: int
    seconds: float
    tail: tuple[str, ...]
    silent: float | None = None


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    patience: float,
    on_line: Callable[[str], None],
    on_tick: Callable[[float], None],
    most_seconds: float = MOST_SECONDS,
    most_bytes: float = math.inf,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a program to its end, or end it: after `patience` seconds without output, after `most_seconds` in all, or when it has
    printed more than `most_bytes`. `environment` is its variables, by default this process's. Standard error is merged into
    standard output; lines are cut at `LONGEST_LINE`.

    `on_line` is called with every line, `on_tick` with the elapsed seconds about every `TICK_S`. When this function returns or
    raises, the program is dead; and if this process is killed, the kernel kills the program too.
    """
    process = subprocess.Popen(
        list(command),
        cwd=str(cwd),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        start_new_session=True,
        preexec_fn=_die_with_parent(),
    )
    tail: deque[str] = deque(maxlen=TAIL)
    began = last_output = time.monotonic()
    ticked, size = 0.0, 0
    pending = b""
    silent = None
    assert process.stdout is not None
    try:
        while True:
            now = time.monotonic()
            if now - ticked >= TICK_S:
                ticked = now
                on_tick(now - began)
            if now - last_output > patience or now - began > most_seconds or size > most_bytes:
                silent = now - last_output
                break
            if not select.select([process.stdout], [], [], TICK_S)[0]:
                # A process that it started may keep the pipe open after its end.
                if process.poll() is not None and now - last_output > _TERMINATE_S:
                    break
                continue
            block = process.stdout.read(_BLOCK)
            last_output = time.monotonic()
            size += len(block or b"")
            whole, newline, pending = (pending + (block or b"")).rpartition(b"\n")
            if not block or len(pending) > _BLOCK:
                whole, newline, pending = whole + newline + pending, b"\n", b""
            for raw in whole.splitlines() if newline else ():
                line = raw[:LONGEST_LINE].decode("utf-8", "replace")
                tail.append(line)
                on_line(line)
            if not block:
                break
        if silent is None:
            try:
                process.wait(timeout=patience)
            except subprocess.TimeoutExpired:
                silent = patience
    finally:
        _end(process)
    return Ended(process.returncode, time.monotonic() - began, tuple(tail), silent)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and everything that it started."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        try:
            process.wait(timeout=_TERMINATE_S)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()
    _signal(process, signal.SIGKILL)
    if process.stdout is not None:
        process.stdout.close()


def _signal(process: subprocess.Popen[bytes], signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signum)


def _die_with_parent() -> Callable[[], None] | None:
    """A function that a child runs before its program, so that it is killed with this process. None where the system cannot."""
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return None
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died in between
            os.kill(os.getpid(), signal.SIGKILL)

    return ask


def output_of(command: Sequence[str], *, seconds: float, most_bytes: int, most_lines: int = 1000) -> str | None:
    """The first lines that a command prints; None if it is missing, fails, prints too much, or takes too long."""
    lines: list[str] = []
    try:
        ended = run(
            command,
            cwd=Path("/"),
            patience=seconds,
            most_seconds=seconds,
            most_bytes=most_bytes,
            on_line=lambda line: lines.append(line) if len(lines) < most_lines else None,
            on_tick=lambda passed: None,
        )
    except OSError:
        return None
    return "\n".join(lines).strip() if ended.code == 0 and ended.silent is None else None
