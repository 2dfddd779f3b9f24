"""Talking to a process whose words may come from anywhere: what it may say has a limit, and so has the time that it takes."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

from edgec.untrusted import Refused

TAIL_BYTES = 1 << 16
"""Of standard error, that are kept: the end explains most."""
_BLOCK = 1 << 18
_TICK_S = 0.2


def communicate(
    process: subprocess.Popen[bytes],
    given: bytes,
    *,
    most_bytes: int,
    seconds: float,
    goes_on: Callable[[], bool] = lambda: True,
) -> tuple[bytes, bytes]:
    """As `Popen.communicate`: its standard output, and the end of its standard error. All three are pipes, unbuffered.

    Raises `Refused` if it says more than `most_bytes`, has not ended after so many seconds, or `goes_on` turned false; then it
    may still run, and is the caller's to end.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    deadline = time.monotonic() + seconds
    said, errors, total = bytearray(), b"", 0
    unsent = memoryview(given)
    os.set_blocking(process.stdin.fileno(), False)
    with selectors.DefaultSelector() as waiting:
        for pipe in (process.stdout, process.stderr):
            waiting.register(pipe, selectors.EVENT_READ)
        waiting.register(process.stdin, selectors.EVENT_WRITE)
        while waiting.get_map():
            _check_time(deadline, seconds, goes_on)
            for key, _ in waiting.select(_TICK_S):
                if key.fileobj is process.stdin:
                    unsent = _send(process, unsent)
                    if not unsent:
                        waiting.unregister(process.stdin)
                        process.stdin.close()
                    continue
                block = os.read(key.fd, _BLOCK)
                if not block:
                    waiting.unregister(key.fileobj)
                total += len(block)
                if total > most_bytes:
                    raise Refused(f"says more than {most_bytes:,} bytes")
                if key.fileobj is process.stdout:
                    said += block
                else:
                    errors = (errors + block)[-TAIL_BYTES:]
    while process.poll() is None:  # it closed its output, and goes on
        _check_time(deadline, seconds, goes_on)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_TICK_S)
    return bytes(said), errors


def _check_time(deadline: float, seconds: float, goes_on: Callable[[], bool]) -> None:
    if not goes_on():
        raise Refused("is not waited for any more")
    if time.monotonic() > deadline:
        raise Refused(f"has not ended after {seconds:.0f} s")


def _send(process: subprocess.Popen[bytes], unsent: memoryview) -> memoryview:
    assert process.stdin is not None
    try:
        return unsent[os.write(process.stdin.fileno(), unsent) :] if unsent else unsent
    except BlockingIOError:
        return unsent
    except BrokenPipeError:  # what it says, or how it ended, tells why
        return unsent[len(unsent) :]
