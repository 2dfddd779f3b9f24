"""One profile in a process of its own: `python -m edgec.latency.profile_worker`, a JSON object on standard input:

    {"model": {...}, "frames": PATH, "threads": N, "iterations": K, "seconds": S}
        → {"source", "iterations", "threads", "whole_ms": [...], "plain_ms": [...], "steps": [...], "rates_gflops": {...}}

The model is loaded twice, once with the runtime's profiling and once without. The two take turns in blocks; before each block
there is a pause, until the other's threads sleep. The machine's best rates of multiplication are measured before and after that.
The answer is {"error": TEXT} if something failed, {"untold": true} if the runtime does not time its steps.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from edgec.latency.timing import TimedRuns
from edgec.latency.worker import begin, error_answer
from edgec.lowering.base import Frames
from edgec.onboard.statistics import block_size

QUIET_S = 0.1
MIN_ITERATIONS = 5


def profile(model: dict[str, Any], frames: str, threads: int, iterations: int, seconds: float) -> dict[str, Any]:
    """The answer to a request (see above)."""
    from edgec.lowering import registry
    from edgec.lowering.base import LoweredModel
    from edgec.lowering.rates import product_rates

    lowering, lowered = registry.get(model["runtime"]), LoweredModel.from_json(model)
    profiler = lowering.profiler(lowered, threads=threads)
    if profiler is None:
        return {"untold": True}
    plain = lowering.load(lowered, threads=threads)
    turns = {"plain": _Timed(plain, np.load(frames)), "whole": _Timed(profiler, np.load(frames))}
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


class _Timed(TimedRuns):
    """Runs that are recorded in blocks."""

    def __init__(self, run: Callable[[Frames], Any], frames: Frames) -> None:
        super().__init__(run, frames)
        self._typical = statistics.median(self.warm_up())
        self.samples_ms: list[float] = []

    def block(self, iterations: int) -> None:
        """Record a block of runs, and no more than `iterations` in all."""
        size = block_size(self._typical, iterations - len(self.samples_ms))
        self.samples_ms += [self.once() for _ in range(size)]


def main() -> int:
    """Answers the request on standard input. Returns the exit code."""
    answers = begin()
    try:
        answer = profile(**json.loads(sys.stdin.read()))
    except Exception as error:
        answer = error_answer(error)
    print(json.dumps(answer), file=answers, flush=True)
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main())
