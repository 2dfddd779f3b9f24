"""One candidate in a process of its own: `python -m edgec.latency.worker [NS]`, which imports numpy and the candidate's runtime
only. NS is `time.monotonic_ns` of when its parent started it, for the time from there to the first features.

It obeys one JSON object a line on standard input and answers with one a line on its standard output:

    {"do": "load", "model": {...}, "frames": PATH, "threads": N}
        → {"import_ms", "load_ms", "first_inference_ms", "process_ms", "execution_precision", "threads"}
    {"do": "warm"}                    → {"runs_ms": [...]}
    {"do": "run", "iterations": K, "lead_in_ms": MS}
        → {"samples_ms": [...], "cpu_ms", "block_cpu_ms"}: after a lead-in of MS, by default 100, that is not recorded, whose CPU
          time only the latter includes
    {"do": "plain", "iterations": K}  → {"elapsed_ms"}: K runs, none of them timed by itself
    {"do": "stream", "begin_ns": NS, "seconds": S, "fps": F or null, "latest": BOOL, "columns": PATH}
        → {"dropped", "cpu_ms", "all_cpu_ms", "spun_ms"}: frames back to back or on a camera's clock from NS on, by
          `time.monotonic_ns`; until then unrecorded runs, which only `all_cpu_ms` includes. PATH gets int64 [3, frames]:
          arrived, started, done
    {"do": "idle", "seconds": S, "samples": K}   → {"samples_ms"}: K times asleep for S, then one run
    {"do": "finish"}                  → {"peak_rss_bytes"}, and the process ends

An error is answered with {"error": TEXT}, and the process ends. It also ends when standard input does, because its parent is
gone.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from edgec.errors import EdgecError
from edgec.latency.arrivals import back_to_back, camera
from edgec.latency.timing import TimedRuns
from edgec.onboard.statistics import LEAD_IN_MS

if TYPE_CHECKING:
    from edgec.lowering.base import Runner

_PR_SET_PDEATHSIG = 1


class Session:
    """The commands that a worker obeys, each a method. `started_ms` is the time from the process's start to its readiness for
    commands; None if nobody said when it was started."""

    def __init__(self, started_ms: float | None = None) -> None:
        self._started_ms = started_ms
        self._runner: Runner
        self._runs: TimedRuns

    def load(self, model: dict[str, Any], frames: str, threads: int) -> dict[str, Any]:
        """Import the runtime, load the model and run it once."""
        began = time.perf_counter_ns()
        from edgec.lowering import registry
        from edgec.lowering.base import LoweredModel

        lowering = registry.get(model["runtime"])
        lowering.availability()  # imports the runtime's SDK, whose time is not the model's
        imported = time.perf_counter_ns()
        lowered = LoweredModel.from_json(model)
        loading = time.perf_counter_ns()
        self._runner = lowering.load(lowered, threads=threads)
        loaded = time.perf_counter_ns()
        self._runs = TimedRuns(self._runner, np.load(frames))
        first_ms = self._runs.once()
        # What import and load have allocated lives as long as the process: collections during runs need not visit it.
        gc.collect()
        gc.freeze()
        return {
            "import_ms": (imported - began) / 1e6,
            "load_ms": (loaded - loading) / 1e6,
            "first_inference_ms": first_ms,
            # Frames come from a camera, not from a file: reading that is left out.
            "process_ms": None if self._started_ms is None else self._started_ms + (loaded - began) / 1e6 + first_ms,
            "execution_precision": self._runner.execution_precision,
            "threads": self._runner.threads,
        }

    def warm(self) -> dict[str, Any]:
        """Run until runs are stable."""
        return {"runs_ms": self._runs.warm_up()}

    def run(self, iterations: int, lead_in_ms: float = LEAD_IN_MS) -> dict[str, Any]:
        """Record so many runs, after a lead-in."""
        began = time.process_time_ns()
        led_in_ms = 0.0
        while led_in_ms < lead_in_ms:
            led_in_ms += self._runs.once()
        recorded = time.process_time_ns()
        samples = [self._runs.once() for _ in range(iterations)]
        ended = time.process_time_ns()
        return {"samples_ms": samples, "cpu_ms": (ended - recorded) / 1e6, "block_cpu_ms": (ended - began) / 1e6}

    def plain(self, iterations: int) -> dict[str, Any]:
        """Time so many runs as a whole."""
        frames, runner = self._runs.frames, self._runner
        began = time.perf_counter_ns()
        for index in range(iterations):
            runner(frames[index % len(frames)])
        return {"elapsed_ms": (time.perf_counter_ns() - began) / 1e6}

    def stream(self, begin_ns: int, seconds: float, fps: float | None, latest: bool, columns: str) -> dict[str, Any]:
        """Run frames for some seconds, back to back or as a camera delivers them."""
        called = time.process_time_ns()
        longest_ns = 0.0
        while time.monotonic_ns() + 1.5 * longest_ns < begin_ns:
            longest_ns = max(longest_ns, self._runs.once() * 1e6)
        began = time.process_time_ns()
        if fps is None:
            log = back_to_back(self._runs.next, begin_ns, seconds)
        else:
            log = camera(self._runs.next, begin_ns, seconds, fps, latest=latest)
        ended = time.process_time_ns()
        np.save(columns, np.array([log.arrived, log.started, log.done], dtype=np.int64))
        return {
            "dropped": log.dropped,
            "cpu_ms": (ended - began) / 1e6,
            "all_cpu_ms": (ended - called) / 1e6,
            "spun_ms": log.spun_ns / 1e6,
        }

    def idle(self, seconds: float, samples: int) -> dict[str, Any]:
        """Sleep before each of so many runs."""
        times = []
        for _ in range(samples):
            time.sleep(seconds)
            times.append(self._runs.once())
        return {"samples_ms": times}

    def finish(self) -> dict[str, Any]:
        """The last command."""
        return {"peak_rss_bytes": peak_rss_bytes()}


def peak_rss_bytes() -> int:
    """The largest resident memory of this process so far.

    Linux's `ru_maxrss` is inherited through fork and exec, so a worker of a large parent would report the parent's; VmHWM
    belongs to the address space and begins anew with exec (proc(5)). macOS' `ru_maxrss` is the process's own, in bytes.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def main() -> int:
    """Obeys commands until the last. Returns the exit code."""
    answers = begin()
    started = int(sys.argv[1]) if len(sys.argv) == 2 and sys.argv[1].isdigit() else None
    return serve(Session(None if started is None else (time.monotonic_ns() - started) / 1e6), answers)


def begin() -> TextIO:
    """What every process that measures does first. Returns the stream for its answers."""
    # Ctrl-C reaches the whole process group; the parent decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    return private_output()


def serve(session: object, answers: TextIO) -> int:
    """Call the session's methods by the commands on standard input, until `finish` or the end of input. Returns the exit code."""
    for line in sys.stdin:
        command = json.loads(line)
        action = command.pop("do")
        try:
            answer = getattr(session, action)(**command)
        except Exception as error:
            answer = error_answer(error)
        print(json.dumps(answer), file=answers, flush=True)
        if "error" in answer:
            return 1
        if action == "finish":
            break
    return 0


def error_answer(error: Exception) -> dict[str, str]:
    """What a worker answers if a command fails."""
    return {"error": str(error) if isinstance(error, EdgecError) else f"{type(error).__name__}: {error}"}


def private_output() -> TextIO:
    """A stream to standard output that only this function's caller has: what a runtime prints to file descriptor 1 goes to
    standard error from now on."""
    ours = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(ours, "w", encoding="utf-8")


def die_with_parent() -> None:
    """On Linux the kernel kills this process when its parent dies, even in the middle of a run. Elsewhere, the end of standard
    input ends it after the command at hand."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
