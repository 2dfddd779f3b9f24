"""One profile in a process of its own: `python -m edgec.latency.profile_worker`, a JSON object on standard input:

    {"model": {...}, "frames": PATH, "threads": N, "iterations": K, "seconds": S}
        → {"source", "iterations", "threads", "whole_ms": [...], "plain_ms": [...], "steps": [...], "rates_gflops": {...}}

The model is loaded twice, once with the runtime's profiling and once without. The two take turns in blocks; before each block it
is quiet for a while, until the other's threads sleep. What a machine can do at best is measured before and after that.
{"error": TEXT} instead says what failed, {"untold": true} that the runtime does not time its steps.
"""

from __future__ import annotations

import json
import signal
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.errors import EdgecError
from edgec.latency.worker import die_with_parent, private_output
from edgec.lowering.base import Frames
from edgec.onboard.statistics import block_size, warmed_up

QUIET_S = 0.1
MIN_ITERATIONS = 5


def profile(model: dict[str, Any], frames: str, threads: int, iterations: int, seconds: float) -> dict[str, Any]:
    from edgec.lowering import registry
    from edgec.lowering.base import LoweredModel
    from edgec.lowering.rates import product_rates

    lowering = registry.get(model["runtime"])
    lowered = LoweredModel(
        model["runtime"], Path(model["directory"]), model["entry"], tuple(model["files"]), dict(model["settings"])
    )
    profiler = lowering.profiler(lowered, threads=threads)
    if profiler is None:
        return {"untold": True}
    plain = lowering.load(lowered, threads=threads)
    turns = {"plain": _Timed(plain, np.load(frames)), "whole": _Timed(profiler, np.load(frames))}
    for timed in turns.values():
        timed.warm()
    before = product_rates(("fp32", "bf16", "int8"), threads)
    profiler.begin()
    begun, order = time.perf_counter(), list(turns.values())
    while len(turns["whole"].samples_ms) < iterations:
        for timed in order:
            time.sleep(QUIET_S)
            timed.block(iterations)
        order.reverse()
        if time.perf_counter() - begun > seconds and len(turns["whole"].samples_ms) >= MIN_ITERATIONS:
            break
    steps = profiler.end()
    after = product_rates(before, threads)
    return {
        "source": profiler.source,
        "iterations": len(turns["whole"].samples_ms),
        "threads": plain.threads,
        "whole_ms": turns["whole"].samples_ms,
        "plain_ms": turns["plain"].samples_ms,
        "steps": [asdict(step) for step in steps],
        "rates_gflops": {kind: max(rate, after.get(kind, 0.0)) for kind, rate in before.items()},
    }


class _Timed:
    """Something that takes frames, uint8 [M, N, H, W, 3], one batch a run, in turn."""

    def __init__(self, run: Callable[[Frames], Any], frames: NDArray[np.uint8]) -> None:
        self._run = run
        self._frames = frames
        self._turn = 0
        self._typical = 0.0
        self.samples_ms: list[float] = []

    def warm(self) -> None:
        runs: list[float] = []
        while not warmed_up(runs):
            runs.append(self._once())
        self._typical = statistics.median(runs)

    def block(self, wanted: int) -> None:
        size = block_size(self._typical, wanted - len(self.samples_ms))
        self.samples_ms += [self._once() for _ in range(size)]

    def _once(self) -> float:
        frames = self._frames[self._turn]
        self._turn = (self._turn + 1) % len(self._frames)
        begun = time.perf_counter_ns()
        self._run(frames)
        return (time.perf_counter_ns() - begun) / 1e6


def main() -> int:
    # Ctrl-C reaches the whole process group; the parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    answers = private_output()
    try:
        answer = profile(**json.loads(sys.stdin.read()))
    except Exception as error:
        answer = {"error": str(error) if isinstance(error, EdgecError) else f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), file=answers, flush=True)
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main())
