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

An error is answered with {"error": TEXT}, and the process ends. So it does when standard input ends, because its parent is gone.
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
from numpy.typing import NDArray

from edgec.errors import EdgecError
from edgec.latency.arrivals import back_to_back, camera
from edgec.onboard.statistics import LEAD_IN_MS, warmed_up

if TYPE_CHECKING:
    from edgec.lowering.base import Runner

_PR_SET_PDEATHSIG = 1


class Session:
    """What the commands work on. Frames are taken in turn, uint8 [M, N, H, W, 3]."""

    def __init__(self, started_ms: float | None = None) -> None:
        self.started_ms = started_ms
        """From the process's start to its readiness for commands; None if nobody said when it was started."""
        self.runner: Runner
        self.frames: NDArray[np.uint8]
        self.turn = 0

    def load(self, model: dict[str, Any], frames: str, threads: int) -> dict[str, Any]:
        began = time.perf_counter_ns()
        from edgec.lowering import registry
        from edgec.lowering.base import LoweredModel

        lowering = registry.get(model["runtime"])
        lowering.availability()  # imports the runtime's SDK, whose time is not the model's
        imported = time.perf_counter_ns()
        lowered = LoweredModel(
            model["runtime"], Path(model["directory"]), model["entry"], tuple(model["files"]), dict(model["settings"])
        )
        loading = time.perf_counter_ns()
        self.runner = lowering.load(lowered, threads=threads)
        loaded = time.perf_counter_ns()
        self.frames = np.load(frames)
        first_ms = self.once()
        # What import and load have allocated lives as long as the process: collections during runs need not visit it.
        gc.collect()
        gc.freeze()
        own_ms = (loaded - began) / 1e6 + first_ms
        return {
            "import_ms": (imported - began) / 1e6,
            "load_ms": (loaded - loading) / 1e6,
            "first_inference_ms": first_ms,
            # Frames come from a camera, not from a file: reading that is left out.
            "process_ms": None if self.started_ms is None else self.started_ms + own_ms,
            "execution_precision": self.runner.execution_precision,
            "threads": self.runner.threads,
        }

    def once(self) -> float:
        """One run, in milliseconds: frames in, features out."""
        frames = self.frames[self.turn]
        self.turn = (self.turn + 1) % len(self.frames)
        began = time.perf_counter_ns()
        self.runner(frames)
        return (time.perf_counter_ns() - began) / 1e6

    def warm(self) -> dict[str, Any]:
        runs: list[float] = []
        while not warmed_up(runs):
            runs.append(self.once())
        return {"runs_ms": runs}

    def run(self, iterations: int, lead_in_ms: float = LEAD_IN_MS) -> dict[str, Any]:
        began = time.process_time_ns()
        led_in_ms = 0.0
        while led_in_ms < lead_in_ms:
            led_in_ms += self.once()
        recorded = time.process_time_ns()
        samples = [self.once() for _ in range(iterations)]
        ended = time.process_time_ns()
        return {"samples_ms": samples, "cpu_ms": (ended - recorded) / 1e6, "block_cpu_ms": (ended - began) / 1e6}

    def plain(self, iterations: int) -> dict[str, Any]:
        frames, runner = self.frames, self.runner
        began = time.perf_counter_ns()
        for index in range(iterations):
            runner(frames[index % len(frames)])
        return {"elapsed_ms": (time.perf_counter_ns() - began) / 1e6}

    def stream(self, begin_ns: int, seconds: float, fps: float | None, latest: bool, columns: str) -> dict[str, Any]:
        called = time.process_time_ns()
        longest_ns = 0.0
        while time.monotonic_ns() + 1.5 * longest_ns < begin_ns:
            longest_ns = max(longest_ns, self.once() * 1e6)
        began = time.process_time_ns()
        if fps is None:
            record = back_to_back(self._next, begin_ns, seconds)
        else:
            record = camera(self._next, begin_ns, seconds, fps, latest=latest)
        ended = time.process_time_ns()
        np.save(columns, np.array([record.arrived, record.started, record.done], dtype=np.int64))
        return {
            "dropped": record.dropped,
            "cpu_ms": (ended - began) / 1e6,
            "all_cpu_ms": (ended - called) / 1e6,
            "spun_ms": record.spun_ns / 1e6,
        }

    def _next(self) -> None:
        turn = self.turn
        self.turn = (turn + 1) % len(self.frames)
        self.runner(self.frames[turn])

    def idle(self, seconds: float, samples: int) -> dict[str, Any]:
        found = []
        for _ in range(samples):
            time.sleep(seconds)
            found.append(self.once())
        return {"samples_ms": found}

    def finish(self) -> dict[str, Any]:
        return {"peak_rss_bytes": peak_rss_bytes()}


def peak_rss_bytes() -> int:
    """This program's own high-water mark.

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
    # Ctrl-C reaches the whole process group; the parent decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    answers = private_output()
    session = Session((time.monotonic_ns() - int(sys.argv[1])) / 1e6 if len(sys.argv) == 2 and sys.argv[1].isdigit() else None)
    for line in sys.stdin:
        command = json.loads(line)
        action = command.pop("do")
        try:
            answer = getattr(session, action)(**command)
        except Exception as error:
            text = str(error) if isinstance(error, EdgecError) else f"{type(error).__name__}: {error}"
            print(json.dumps({"error": text}), file=answers, flush=True)
            return 1
        print(json.dumps(answer), file=answers, flush=True)
        if action == "finish":
            break
    return 0


def private_output() -> TextIO:
    """Standard output as a stream of ours alone: what a runtime prints to file descriptor 1 goes to standard error."""
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
