"""Timing single runs of a model, inside the worker's process. Imports numpy only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.onboard.statistics import warmed_up


class TimedRuns:
    """Runs of `run` on frames, uint8 [M, N, H, W, 3], one batch of N a run, in turn."""

    def __init__(self, run: Callable[[NDArray[np.uint8]], Any], frames: NDArray[np.uint8]) -> None:
        self.frames = frames
        self._run = run
        self._turn = 0

    def next(self) -> None:
        """Run the next batch."""
        turn = self._turn
        self._turn = (turn + 1) % len(self.frames)
        self._run(self.frames[turn])

    def once(self) -> float:
        """Run the next batch; returns the milliseconds from frames in to features out."""
        frames = self.frames[self._turn]
        self._turn = (self._turn + 1) % len(self.frames)
        began = time.perf_counter_ns()
        self._run(frames)
        return (time.perf_counter_ns() - began) / 1e6

    def warm_up(self) -> list[float]:
        """Run until runs are stable (`warmed_up`); returns their milliseconds."""
        runs: list[float] = []
        while not warmed_up(runs):
            runs.append(self.once())
        return runs
