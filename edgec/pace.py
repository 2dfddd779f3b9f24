"""How fast this machine has done a build's stages before, and so how long one is likely to take.

    <cache>/pace.json   {stage: [seconds per GFLOP, …]}, the latest last

A stage's work is counted in GFLOPs of the model: frames times what a frame takes. What a stage costs beside that (loading,
writing) is small where it matters, which is where stages take minutes. The file is a convenience: what cannot be read or written
is as if there were none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgec.durable import write_whole
from edgec.untrusted import Refused, parse_json_object, read_bytes

FILE = "pace.json"
_LIMIT_BYTES = 1 << 20
_KEPT = 8
LEAST_GFLOP = 20.0
"""A stage with less work says more about what it costs to begin."""
UNKNOWN = (0.005, 0.2)
"""Seconds per GFLOP where nothing is recorded: from 200 GFLOP/s, a workstation, to 5, a small machine that others use too."""


@dataclass(frozen=True)
class Expected:
    """How long stages are likely to take, in seconds. `known` is the share of their work whose pace was recorded here."""

    low_s: float
    high_s: float
    known: float

    def __str__(self) -> str:
        basis = (
            "from builds on this machine before" if self.known > 0.5 else "a guess: this machine has no record of such builds yet"
        )
        return f"likely {_time(self.low_s)} to {_time(self.high_s)} ({basis}), less what is in the cache already"


class Pace:
    """The record below `root`, the cache's folder."""

    def __init__(self, root: Path) -> None:
        self._path = root / FILE

    def record(self, stage: str, gflop: float, seconds: float) -> None:
        """A stage that did so much work in so long."""
        if gflop < LEAST_GFLOP or seconds <= 0:
            return
        rates = self._read()
        rates[stage] = [*rates.get(stage, []), round(seconds / gflop, 6)][-_KEPT:]
        with suppress(OSError):
            write_whole(self._path, json.dumps(rates, indent=1, sort_keys=True).encode())

    def expect(self, work: Mapping[str, float], fixed_s: tuple[float, float] = (0.0, 0.0)) -> Expected:
        """For stages with so many GFLOPs each; `fixed_s` comes on top: the least and the most of what does not depend on them."""
        rates, (low, high), known = self._read(), fixed_s, 0.0
        for stage, gflop in work.items():
            fastest, slowest = self.range_of(stage)
            known += gflop if rates.get(stage) else 0.0
            low, high = low + gflop * fastest, high + gflop * slowest
        return Expected(low, high, known / max(sum(work.values()), 1e-9))

    def range_of(self, stage: str) -> tuple[float, float]:
        """The fastest and the slowest that was recorded of it, in seconds per GFLOP. A stage without a record is about as fast as
        the others are on this machine."""
        rates = self._read()
        recorded = rates.get(stage) or [rate for each in rates.values() for rate in each] or UNKNOWN
        return min(recorded), max(recorded)

    def _read(self) -> dict[str, list[float]]:
        try:
            document = parse_json_object(read_bytes(self._path, _LIMIT_BYTES))
        except (OSError, Refused):
            return {}
        return {
            str(stage): [float(rate) for rate in rates if isinstance(rate, (int, float)) and 0 < rate < math.inf]
            for stage, rates in document.items()
            if isinstance(rates, list)
        }


def _time(seconds: float) -> str:
    """In what people say: no more than two digits."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = seconds / 60
    return f"{round(minutes)} min" if minutes < 100 else f"{minutes / 60:.1f} h"
