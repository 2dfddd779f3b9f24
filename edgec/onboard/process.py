"""Running one program that may take ten minutes, crash, hang, or outlive us if we let it."""

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

TAIL = 40
LONGEST_LINE = 4096
"""Bytes of one that are looked at."""
MOST_SECONDS = 12 * 3600.0
"""Whatever it says meanwhile."""
_BLOCK = 1 << 16
_PR_SET_PDEATHSIG = 1
_TERMINATE_S = 2.0
TICK_S = 0.2


@dataclass(frozen=True)
class Ended:
    """`code` is negative for a signal. `tail` are the last lines, `silent` is how long it had said nothing if it was ended for
    that."""

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
) -> Ended:
    """Run to its end, or end it: after `patience` seconds without output, after `most_seconds` in all, or when it has said more
    than `most_bytes`. Standard error comes with standard output; no line is longer than `LONGEST_LINE`.

    `on_line` gets every line, `on_tick` the elapsed seconds about every `TICK_S`. Whatever leaves this function, by return or by
    exception, the program is dead; and if this very process is killed, the kernel kills the program too.
    """
    process = subprocess.Popen(
        list(command),
        cwd=str(cwd),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        start_new_session=True,
        preexec_fn=_die_with_parent(),
    )
    tail: deque[str] = deque(maxlen=TAIL)
    began = heard = time.monotonic()
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
            if now - heard > patience or now - began > most_seconds or size > most_bytes:
                silent = now - heard
                break
            if not select.select([process.stdout], [], [], TICK_S)[0]:
                # What it started may hold the pipe open after it is gone itself.
                if process.poll() is not None and now - heard > _TERMINATE_S:
                    break
                continue
            block = process.stdout.read(_BLOCK)
            heard = time.monotonic()
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
    """The program and what it started."""
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
    """What a child runs before its program: ask to be killed with us. None where the system has no such wish."""
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
    """What a command that tells a fact prints, its first lines; None if it is missing, fails, says too much, or takes too
    long."""
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
