"""The parent's end of a worker: start it, ask it, say how it died, end it."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from edgec.latency.answers import read_answer
from edgec.lowering.base import LoweredModel
from edgec.untrusted import Refused

ANSWER_SECONDS = 900.0
"""How long a worker may think about one command: a large model on a small board compiles for minutes."""

MOST_ANSWER_BYTES = 64 << 20
"""A sample takes some twenty."""
MOST_LOG_BYTES = 256 << 20
"""That a worker and its runtime may print."""
_TICK_S = 1.0
_STDERR_LINES = 8
_STDERR_CHARACTERS = 1500


_H = TypeVar("_H", bound="Helper")


class WorkerProblem(Exception):
    """Why a candidate could not be measured, ready for a report: what happened, and the end of the worker's standard error."""


class Helper:
    """A process of ours that obeys commands: `python -m MODULE`. `scratch` is an existing directory of the caller's; helpers
    share it. `environment` is set beside what we have."""

    def __init__(self, module: str, name: str, scratch: Path, environment: Mapping[str, str] | None = None) -> None:
        self._log = scratch / f"{name}.stderr"
        self._unread, self._asked = b"", ""
        with self._log.open("wb") as log:
            # `-m` puts the working directory on the module path: start where there are no modules, not where the user stands.
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(time.monotonic_ns())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=scratch,
                env={**os.environ, **(environment or {})},
                bufsize=0,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self: _H) -> _H:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def ask(self, command: dict[str, Any], seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """Sends a command and waits for its answer. Raises `WorkerProblem` if the worker fails, dies, or says nothing in time."""
        self.send(command)
        return self.answer(seconds)

    def send(self, command: dict[str, Any]) -> None:
        """Without waiting. Raises `WorkerProblem` if the worker is dead."""
        self._asked = str(command.get("do"))
        try:
            self._stdin.write(json.dumps(command).encode() + b"\n")
        except BrokenPipeError:
            raise WorkerProblem(self._obituary()) from None

    def fileno(self) -> int:
        """Readable when the worker has answered, or ended."""
        return self._stdout.fileno()

    def answer(self, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """To the command that was sent. Raises `WorkerProblem` as `ask` does."""
        line = self._line(self._stdout.fileno(), seconds)
        try:
            answer = read_answer(line, self._asked)
        except Refused as error:
            raise WorkerProblem(f"said something else than it should: it {error}{self._stderr()}") from None
        if "error" in answer:
            raise WorkerProblem(f"{answer['error']}{self._stderr()}")
        return answer

    def close(self) -> None:
        """Ends the process, at once if it does not end by itself, and reaps it."""
        self._stdin.close()
        self._stdout.close()
        # A worker that has finished its work is on its way out; any other is interrupted, there is nothing in it to save.
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _line(self, descriptor: int, seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            blocks = [self._unread]
            while b"\n" not in blocks[-1]:
                left = deadline - time.monotonic()
                if self._log.stat().st_size > MOST_LOG_BYTES:
                    raise WorkerProblem(f"printed more than {MOST_LOG_BYTES:,} bytes{self._stderr()}")
                if not selector.select(min(_TICK_S, left)):
                    if left <= 0:
                        raise WorkerProblem(f"no answer within {seconds:.0f} s{self._stderr()}")
                    continue
                chunk = os.read(descriptor, 1 << 16)
                if not chunk:
                    raise WorkerProblem(self._obituary())
                blocks.append(chunk)
                if len(blocks) << 16 > MOST_ANSWER_BYTES and sum(map(len, blocks)) > MOST_ANSWER_BYTES:
                    raise WorkerProblem(f"answered with more than {MOST_ANSWER_BYTES:,} bytes{self._stderr()}")
        line, _, self._unread = b"".join(blocks).partition(b"\n")
        return line

    def _obituary(self) -> str:
        """How the process died."""
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return f"closed its output and went on running{self._stderr()}"
        return f"{describe_exit(code)}{self._stderr()}"

    def _stderr(self) -> str:
        """The end of what the worker, or its runtime, printed."""
        with self._log.open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 4 * _STDERR_CHARACTERS))
            text = log.read().decode("utf-8", "replace").rstrip()[-_STDERR_CHARACTERS:]
        lines = [line for line in text.splitlines() if line.strip()][-_STDERR_LINES:]
        return "".join(f"\n  {line}" for line in lines)


class Worker(Helper):
    """Holds one candidate: `edgec.latency.worker`."""

    def __init__(self, model: LoweredModel, name: str, scratch: Path) -> None:
        super().__init__("edgec.latency.worker", name, scratch)
        self._model = model

    def load(self, frames: Path, threads: int) -> dict[str, Any]:
        model = {
            "runtime": self._model.runtime,
            "directory": str(self._model.directory.resolve()),
            "entry": self._model.entry,
            "files": list(self._model.files),
            "settings": self._model.settings,
        }
        return self.ask({"do": "load", "model": model, "frames": str(frames), "threads": threads})


def describe_exit(code: int) -> str:
    """A `Popen.returncode` in words."""
    if code >= 0:
        return f"ended with exit code {code} before it answered"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = "; out of memory is the usual reason" if -code == signal.SIGKILL else ""
    return f"killed by signal {-code} ({name}{hint})"
