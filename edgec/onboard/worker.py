"""The parent's side of a worker process: start it, send commands, say how it died, end it. A runtime's code runs in the worker,
so its output is not trusted."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Mapping, Sequence, TypeVar

from .untrusted import Refused, printable

MOST_ANSWER_BYTES = 64 << 20
"""Of one answer; a sample takes some twenty bytes."""
MOST_LOG_BYTES = 256 << 20
"""That a worker and its runtime may print to standard error."""
_TICK_S = 1.0
_STDERR_LINES, _STDERR_CHARACTERS = 8, 1500
_T = TypeVar("_T", bound="Worker")


class WorkerProblem(Exception):
    """Why something could not be measured, ready for a report: what happened, and the end of the worker's standard error."""


class Worker:
    """A child process that takes commands, one JSON object per line, and answers each with another. `log` receives its standard
    error. `read` parses an answer from its line and the command's name, or raises `Refused`. An answer may have `most_bytes`, by
    default `MOST_ANSWER_BYTES`."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        read: Callable[[bytes, str], dict[str, Any]],
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        most_bytes: int | None = None,
    ) -> None:
        self._log, self._read, self._most = log, read, most_bytes or MOST_ANSWER_BYTES
        self._unread, self._asked = b"", ""
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=None if cwd is None else str(cwd),
                env={**os.environ, **(environment or {})},
                bufsize=0,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def __enter__(self: _T) -> _T:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def ask(self, command: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Send a command and wait for its answer. Raises `WorkerProblem` if the worker fails, dies, or does not answer in
        time."""
        self.send(command)
        return self.answer(seconds)

    def send(self, command: Mapping[str, Any]) -> None:
        """Send a command without waiting. Raises `WorkerProblem` if the worker is dead."""
        self._asked = str(command.get("do"))
        try:
            self._stdin.write(json.dumps(command).encode() + b"\n")
        except (BrokenPipeError, ValueError):
            raise WorkerProblem(self._obituary()) from None

    def fileno(self) -> int:
        """A descriptor that becomes readable when the worker has answered or ended."""
        return self._stdout.fileno()

    def answer(self, seconds: float) -> dict[str, Any]:
        """The answer to the command that was sent last. Raises `WorkerProblem` as `ask` does."""
        line = self._line(seconds)
        try:
            answer = self._read(line, self._asked)
        except Refused as error:
            raise WorkerProblem(f"its answer cannot be used: it {error}{self._stderr()}") from None
        if "error" in answer:
            raise WorkerProblem(f"{printable(str(answer['error']))}{self._stderr()}")
        return answer

    def close(self) -> None:
        """End the process, by killing it if it still runs, and reap it."""
        self._stdin.close()
        self._stdout.close()
        # A worker that has finished ends by itself; any other one has nothing to save.
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _line(self, seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            blocks = [self._unread]
            while b"\n" not in blocks[-1]:
                left = deadline - time.monotonic()
                if self._log.stat().st_size > MOST_LOG_BYTES:
                    raise WorkerProblem(f"printed more than {MOST_LOG_BYTES:,} bytes{self._stderr()}")
                if not selector.select(max(0.0, min(_TICK_S, left))):
                    if left <= 0:
                        raise WorkerProblem(f"no answer within {seconds:.0f} s{self._stderr()}")
                    continue
                block = os.read(self.fileno(), 1 << 16)
                if not block:
                    raise WorkerProblem(self._obituary())
                blocks.append(block)
                if len(blocks) << 16 > self._most and sum(map(len, blocks)) > self._most:
                    raise WorkerProblem(f"answered with more than {self._most:,} bytes{self._stderr()}")
        line, _, self._unread = b"".join(blocks).partition(b"\n")
        return line

    def _obituary(self) -> str:
        """How the process died."""
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return f"closed its output but did not end{self._stderr()}"
        return f"{describe_exit(code)}{self._stderr()}"

    def _stderr(self) -> str:
        """The last lines that the worker, or its runtime, printed."""
        with self._log.open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 4 * _STDERR_CHARACTERS))
            text = log.read(4 * _STDERR_CHARACTERS).decode("utf-8", "replace").rstrip()[-_STDERR_CHARACTERS:]
        lines = [line for line in text.splitlines() if line.strip()][-_STDERR_LINES:]
        return "".join(f"\n  {printable(line)}" for line in lines)


def signal_name(number: int) -> str:
    """Such as SIGKILL; "unknown" for a number that is none of this system's signals."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def describe_exit(code: int) -> str:
    """A `Popen.returncode` in words."""
    if code >= 0:
        return f"ended with exit code {code} before it answered"
    hint = "; out of memory is the usual reason" if -code == signal.SIGKILL else ""
    return f"killed by signal {-code} ({signal_name(-code)}{hint})"
