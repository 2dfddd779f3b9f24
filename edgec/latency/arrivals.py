"""When a worker starts its next frame: at once, or when its camera has one. Standard library only: workers import it.

A camera has a clock of its own: frame k arrives at `begin + k / fps`, whatever happened to the frames before it, so nothing
drifts. Which frames arrived while the model worked follows from that schedule: no thread receives them, and none takes time from
what is measured. The process sleeps until a frame's arrival, except for the last `SPIN_NS`, in which it reads the clock in a
loop, because a sleep alone ends tens of microseconds late. At 30 Hz that costs 0.6 % of one core, which is left out of the CPU
time that is reported. If the process still starts late, that is part of the frame's wait, as in a robot's program.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

SPIN_NS = 200_000
GRACE_NS = 1_000_000_000
"""How long waiting frames are still run after the last arrival; those that wait then count as dropped. If all frames wait and the
model is too slow, the queue could otherwise take as long again as the run did."""


@dataclass
class FrameLog:
    """`time.monotonic_ns` of every frame that was done, in arrays of machine integers: lists of Python's integers would show as
    memory. `spun_ns` is the time that was spent waiting in a loop."""

    arrived: array[int] = field(default_factory=lambda: array("q"))
    started: array[int] = field(default_factory=lambda: array("q"))
    done: array[int] = field(default_factory=lambda: array("q"))
    dropped: int = 0
    spun_ns: int = 0


def back_to_back(run: Callable[[], object], begin_ns: int, seconds: float) -> FrameLog:
    """Run frames until `seconds` are over, each as soon as the one before it is done; at least one."""
    log, clock = FrameLog(), time.monotonic_ns
    end = begin_ns + round(seconds * 1e9)
    _wait_until(begin_ns, log)
    while True:
        started = clock()
        run()
        done = clock()
        log.arrived.append(started)
        log.started.append(started)
        log.done.append(done)
        if done >= end:
            return log


def camera(run: Callable[[], object], begin_ns: int, seconds: float, fps: float, *, latest: bool) -> FrameLog:
    """Run the frames that arrive within `seconds` from `begin_ns`, at least one. With `latest`, only the newest of the frames
    that arrived while the model worked is taken, and older ones are dropped; otherwise all wait for their turn."""
    log, clock = FrameLog(), time.monotonic_ns
    total = max(1, math.ceil(seconds * fps - 1e-6))
    end = begin_ns + round(seconds * 1e9)

    def arrival(number: int) -> int:
        return begin_ns + round(number * 1e9 / fps)

    number = 0
    while number < total:
        arrived = arrival(number)
        _wait_until(arrived, log)
        started = clock()
        if latest:
            newest = min(total - 1, max(number, int((started - begin_ns) * fps / 1e9)))
            # The division above is rounded: it may name a frame that has not arrived yet.
            while newest > number and arrival(newest) > started:
                newest -= 1
            log.dropped += newest - number
            number, arrived = newest, arrival(newest)
        elif number and started > end + GRACE_NS:
            log.dropped += total - number
            return log
        run()
        done = clock()
        log.arrived.append(arrived)
        log.started.append(started)
        log.done.append(done)
        number += 1
    return log


def _wait_until(until_ns: int, log: FrameLog) -> None:
    left = until_ns - time.monotonic_ns()
    if left > SPIN_NS:
        time.sleep((left - SPIN_NS) / 1e9)
    spinning = now = time.monotonic_ns()
    while now < until_ns:
        now = time.monotonic_ns()
    log.spun_ns += now - spinning
