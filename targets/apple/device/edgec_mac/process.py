"""Worker processes in which Core ML runs, and what they may answer."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgec_onboard import worker
from edgec_onboard.untrusted import Refused, parse_json_object, printable
from edgec_onboard.worker import WorkerProblem

_PROGRAM = Path(__file__).resolve().parents[1]
"""The archive, or the folder that it was unpacked into."""
_TEXT_CHARACTERS = 300
_ERROR_CHARACTERS = 2000
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
    return isinstance(value, dict) and all(isinstance(text, str) and len(text) < _TEXT_CHARACTERS for text in value.values())


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
"""The fields of each command's answer (edgec_mac/worker.py). They are checked because Core ML's code runs in the worker."""


class Worker(worker.Worker):
    """A new process. `patience` is how many seconds it may take to answer a command."""

    def __init__(self, log: Path, patience: float) -> None:
        self._patience = patience
        self.began = time.perf_counter()
        # An interruption in the middle of `Popen` would leave a process that nothing ends.
        with _signals_deferred():
            super().__init__([sys.executable, str(_PROGRAM), "--worker"], log, _read, most_bytes=_MOST_ANSWER_BYTES)
            _running.add(self._process)

    def request(self, do: str, **fields: Any) -> dict[str, Any]:
        """Send a command and wait for its answer. Raises `WorkerProblem`; the worker is then killed."""
        try:
            return self.ask({"do": do, **fields}, self._patience)
        except WorkerProblem:
            self._process.kill()
            raise

    def close(self) -> None:
        """End the process and reap it."""
        super().close()
        _running.discard(self._process)


def _read(line: bytes, do: str) -> dict[str, Any]:
    answer = parse_json_object(line)
    if "error" in answer:
        return {"error": printable(str(answer["error"]))[:_ERROR_CHARACTERS]}
    wrong = [name for name, is_sound in _FORMS.get(do, {}).items() if not is_sound(answer.get(name))]
    if wrong:
        raise Refused(f"is not an answer to {do}: its {wrong[0]} is missing or of another kind")
    return answer


def end_workers() -> None:
    """End and reap every worker that an interruption kept from being closed. Called last: from here on signals are ignored."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for process in _running:
        process.kill()
    for process in _running:
        # A process that sleeps in a driver cannot be ended, and this one need not wait for it.
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_REAP_SECONDS)


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Signals to stop take effect at the end of the block. Ignored ones stay ignored, also in workers, which inherit that."""
    arrived: list[int] = []
    current = {number: signal.getsignal(number) for number in _SIGNALS}
    handlers = {number: handler for number, handler in current.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, lambda signum, frame: arrived.append(signum))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])
