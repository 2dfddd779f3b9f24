"""Waiting until other work leaves the cores that a measurement needs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

LOOK_S = 0.25
"""How long one look at the machine takes."""
_TAKEN = 0.1
"""The share of the cores that a measurement needs, above which others may not use them: as `edgec.host.facts.contention`."""


@dataclass(frozen=True)
class Quiet:
    """What the machine was like when waiting ended: how many cores other work used, of all, and how long was waited, in seconds.
    `reached`: the measurement has the cores that it needs."""

    reached: bool
    other_cores: float
    logical_cores: int
    waited_s: float

    @property
    def problem(self) -> str:
        """Why what is measured now will not be judged; empty if it will."""
        if self.reached:
            return ""
        waited = f" after {self.waited_s:.0f} s of waiting" if self.waited_s >= 1 else ""
        return (
            f"other work uses {self.other_cores:.1f} of {self.logical_cores} cores{waited}: what is measured now will be too "
            "high, and is not judged; end it, or let measuring wait for quiet: --patience SECONDS"
        )


def wait_for_quiet(patience_s: float, threads: int, waiting: Callable[[str], None] = lambda text: None) -> Quiet:
    """Looks whether other work leaves `threads` cores, and waits up to `patience_s` until it does. `waiting` is called with a
    sentence every second or so."""
    cores, began = os.cpu_count() or 1, time.monotonic()
    spare = max(0, cores - threads) + _TAKEN * threads
    while True:
        other = _other_cores(LOOK_S)
        waited = time.monotonic() - began
        if other <= spare or waited >= patience_s:
            return Quiet(other <= spare, other, cores, waited if waited > 2 * LOOK_S else 0.0)
        waiting(f"waiting for quiet: other work uses {other:.1f} of {cores} cores, {waited:.0f} of {patience_s:.0f} s")
        time.sleep(min(1.0, patience_s - waited))


def _other_cores(seconds: float) -> float:
    """How many cores' worth of work all others do, looked at for so long."""
    before, own, began = _busy_s(), time.process_time(), time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - began
    return max(0.0, (_busy_s() - before - (time.process_time() - own)) / elapsed)


def _busy_s() -> float:
    times = psutil.cpu_times()
    # Linux counts guests' time within user time as well.
    return float(sum(times) - sum(getattr(times, name, 0.0) for name in ("idle", "iowait", "guest", "guest_nice")))
