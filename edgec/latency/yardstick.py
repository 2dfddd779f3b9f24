"""How fast the machine is just now, by a fixed piece of work that has nothing to do with the model: `python -m
edgec.latency.yardstick [NS]`, which imports numpy only.

A machine's speed is not constant. That of a virtual machine depends on what other guests do on the same cores, for seconds or for
minutes, and nothing in the guest shows it. All processes become slower together (on one such machine runs of the same thing
differed by 4 %, processes of one run by half a percent), so that samples of the model alone cannot show whether the model became
slower. Products of matrices can: on that machine they became slower by the same factor, and the rest of the variation in the
model's times was uncorrelated noise, which averages out.

The work: on each usable core in turn, at most `MOST_CORES` of them, `PRODUCTS` products of square float32 matrices of `SIDE`, on
one thread. One sample is the time of all cores together. It must never change without a change of `WORK`, which reports hold:
only measurements with the same yardstick can be compared by it.

Commands come and are answered as a worker's:

    {"do": "run"}       → {"samples_ms": [...], "cpu_ms"}
    {"do": "finish"}    → {"peak_rss_bytes"}
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIDE, PRODUCTS, MOST_CORES = 256, 6, 8
WORK = f"{PRODUCTS} products of {SIDE}x{SIDE} float32 matrices on each of at most {MOST_CORES} cores"

SAMPLES, FEWEST, TURN_MS = 10, 2, 60.0
"""In a turn: 10, or as many as take 60 ms, but at least 2."""

_LIBRARIES = ("OPENBLAS", "OMP", "MKL", "BLIS")
ENVIRONMENT = {**{f"{name}_NUM_THREADS": "1" for name in _LIBRARIES}, "VECLIB_MAXIMUM_THREADS": "1"}
"""One thread: others would spin on the model's cores while they wait."""


class Yardstick:
    """The commands that the yardstick obeys, each a method."""

    def __init__(self) -> None:
        import numpy as np

        chance = np.random.default_rng(0)
        self._left, self._right = (chance.random((SIDE, SIDE), dtype=np.float32) for _ in range(2))
        self._product: NDArray[np.float32] = np.empty((SIDE, SIDE), dtype=np.float32)
        self._cores = _cores()

    def run(self) -> dict[str, Any]:
        """The samples of one turn."""
        began = time.process_time_ns()
        samples: list[float] = []
        while len(samples) < FEWEST or (len(samples) < SAMPLES and sum(samples) < TURN_MS):
            samples.append(self._once())
        return {"samples_ms": samples, "cpu_ms": (time.process_time_ns() - began) / 1e6}

    def finish(self) -> dict[str, Any]:
        """The last command."""
        from edgec.latency.worker import peak_rss_bytes

        return {"peak_rss_bytes": peak_rss_bytes()}

    def _once(self) -> float:
        import numpy as np

        spent = 0
        for _ in self._on_each_core():
            np.matmul(self._left, self._right, out=self._product)  # brings the matrices to this core
            began = time.perf_counter_ns()
            for _ in range(PRODUCTS):
                np.matmul(self._left, self._right, out=self._product)
            spent += time.perf_counter_ns() - began
        return spent / 1e6

    def _on_each_core(self) -> Iterator[None]:
        for core in self._cores:
            if sys.platform == "linux":
                os.sched_setaffinity(0, [core])
            yield


def _cores() -> list[int]:
    """The cores that may be used; where threads cannot be bound to a core, only their number matters."""
    if sys.platform == "linux":
        return sorted(os.sched_getaffinity(0))[:MOST_CORES]
    return list(range(min(os.cpu_count() or 1, MOST_CORES)))


def main() -> int:
    """Obeys commands until the last. Returns the exit code."""
    from edgec.latency.worker import begin, serve

    answers = begin()
    return serve(Yardstick(), answers)


if __name__ == "__main__":
    sys.exit(main())
