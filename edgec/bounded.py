"""Talking to a process that is not trusted: its output and its time are limited."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

from edgec.untrusted import Refused

TAIL_BYTES = 1 << 16
"""How much of standard error is kept: its end, which explains most."""
_BLOCK = 1 << 18
_TICK_S = 0.2


def communicate(
    process: subprocess.Popen[bytes],
    data: bytes,
    *,
    most_bytes: int,
    seconds: float,
    goes_on: Callable[[], bool] = lambda: True,
) -> tuple[bytes, bytes]:
    """Send `data` and read to the end, as `Popen.communicate` does. Returns standard output and the end of standard error. All
    three streams must be unbuffered pipes.

    Raises `Refused` if the process writes more than `most_bytes`, runs longer than `seconds`, or `goes_on` returns false. It may
    then still run: the caller must end it.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    deadline = time.monotonic() + seconds
    output, errors, total = bytearray(), b"", 0
    unsent = memoryview(data)
    os.set_blocking(process.stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            selector.register(pipe, selectors.EVENT_READ)
        selector.register(process.stdin, selectors.EVENT_WRITE)
        while selector.get_map():
            _check_time(deadline, seconds, goes_on)
            for key, _ in selector.select(_TICK_S):
                if key.fileobj is process.stdin:
                    unsent = _send(process, unsent)
                    if not unsent:
                        selector.unregister(process.stdin)
                        process.stdin.close()
                    continue
                block = os.read(key.fd, _BLOCK)
                if not block:
                    selector.unregister(key.fileobj)
                total += len(block)
                if total > most_bytes:
                    raise Refused(f"writes more than {most_bytes:,} bytes")
                if key.fileobj is process.stdout:
                    output += block
                else:
                    errors = (errors + block)[-TAIL_BYTES:]
    while process.poll() is None:  # it closed its output but still runs
        _check_time(deadline, seconds, goes_on)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_TICK_S)
    return bytes(output), errors


def _check_time(deadline: float, seconds: float, goes_on: Callable[[], bool]) -> None:
    if not goes_on():
        raise Refused("is no longer waited for")
    if time.monotonic() > deadline:
        raise Refused(f"has not ended after {seconds:.0f} s")


def _send(process: subprocess.Popen[bytes], unsent: memoryview) -> memoryview:
    assert process.stdin is not None
    try:
        return unsent[os.write(process.stdin.fileno(), unsent) :] if unsent else unsent
    except BlockingIOError:
        return unsent
    except BrokenPipeError:  # its output, or its exit code, explains why
        return unsent[len(unsent) :]
