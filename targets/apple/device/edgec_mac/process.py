"""The parent's end of a worker: start it, ask it, say how it died, end it."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from edgec_mac.text import printable
from edgec_mac.untrusted import Refused, parse_object

_PROGRAM = Path(__file__).resolve().parents[1]
"""The archive, or the folder that it was unpacked into."""
_STDERR_LINES = 6
_LINE_CHARACTERS = 300
_ERROR_CHARACTERS = 2000
_LOG_BYTES = 1 << 16
_MOST_ANSWER_BYTES = 16 << 20
_REAP_SECONDS = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_running: set[subprocess.Popen[bytes]] = set()
"""Every worker that was started and not yet reaped."""


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e9


def _are_times(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_time, value))


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _are_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) and len(each) < _LINE_CHARACTERS for each in value.values())


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and len(value) < 4096


_FORMS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "check": {"versions": _are_texts, "compiled_part": _is_path},
    "compile": {"compile_ms": _is_time},
    "load": dict.fromkeys(("import_ms", "load_ms", "first_inference_ms"), _is_time),
    "plan": {"by_device": _are_counts, "fallen": lambda value: isinstance(value, list)},
    "warm": {"runs_ms": _are_times},
    "run": {"samples_ms": _are_times, "cpu_ms": _is_time},
    "finish": {"peak_rss_bytes": _is_count},
}
"""What a worker's answers must hold (edgec_mac/worker.py): Core ML's own code runs in it."""


class WorkerProblem(Exception):
    """Why a compute unit cannot be used: what happened, and the end of the worker's standard error."""


class Worker:
    """A fresh process. `log` takes its standard error; `patience` is how long it may think about one command, in seconds."""

    def __init__(self, log: Path, patience: float) -> None:
        self._log, self._patience = log, patience
        self._unread = b""
        self.began = time.perf_counter()
        # An interruption in the middle of `Popen` would leave a process that nobody knows of.
        with log.open("wb") as stderr, _signals_wait():
            self._process = subprocess.Popen(
                [sys.executable, str(_PROGRAM), "--worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
            )
            _running.add(self._process)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer. Raises `WorkerProblem` if the worker fails, dies, or says nothing in time."""
        try:
            self._stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")
        except (BrokenPipeError, ValueError):
            raise WorkerProblem(self._obituary()) from None
        try:
            answer = parse_object(self._line())
        except Refused as error:
            raise WorkerProblem(f"the worker answered something else than it should: it {error}") from None
        if "error" in answer:
            raise WorkerProblem(printable(str(answer["error"]))[:_ERROR_CHARACTERS])
        wrong = [name for name, is_sound in _FORMS.get(do, {}).items() if not is_sound(answer.get(name))]
        if wrong:
            raise WorkerProblem(f"the worker answered something else than it should: its {wrong[0]} is none")
        return answer

    def close(self) -> None:
        """Ends the process, at once if it does not end by itself, and reaps it."""
        self._stdin.close()
        self._stdout.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        _running.discard(self._process)

    def _line(self) -> bytes:
        deadline = time.monotonic() + self._patience
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if len(self._unread) > _MOST_ANSWER_BYTES:
                    self._process.kill()
                    raise WorkerProblem(f"the worker answered with more than {_MOST_ANSWER_BYTES:,} bytes and was ended")
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self._process.kill()
                    raise WorkerProblem(f"Core ML said nothing for {self._patience:.0f} s and was ended")
                chunk = os.read(self._stdout.fileno(), 1 << 16)
                if not chunk:
                    raise WorkerProblem(self._obituary())
                self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _obituary(self) -> str:
        """How the process died, and its last words."""
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "the process closed its output and went on running"
        how = f"the process ended with exit code {code}" if code >= 0 else f"the process was killed by {_signal(-code)}"
        with self._log.open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _LOG_BYTES))
            lines = log.read(_LOG_BYTES).decode("utf-8", "replace").splitlines()
        words = [printable(line)[:_LINE_CHARACTERS] for line in lines if line.strip()][-_STDERR_LINES:]
        return "\n  ".join([how, *words])


def end_workers() -> None:
    """The program's last act: end and reap whatever was started and, because an interruption came in between, never closed. From
    here on nothing interrupts it."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for process in _running:
        process.kill()
    for process in _running:
        # One that sleeps in a driver cannot be ended, and need not keep this one.
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_REAP_SECONDS)


@contextmanager
def _signals_wait() -> Iterator[None]:
    """What asks this program to stop is obeyed at the end of the block. What is ignored stays so: workers inherit that."""
    arrived: list[int] = []
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    held = {number: handler for number, handler in before.items() if callable(handler)}
    for number in held:
        signal.signal(number, lambda signum, frame: arrived.append(signum))
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])


def _signal(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
