"""When a worker starts its next frame: at once, or when its camera has one. Standard library only: workers import it.

A camera has a clock of its own: frame k arrives at `begin + k / fps`, whatever became of those before it, so nothing drifts.
Which frames arrived while the model worked follows from that schedule when it is done: no thread receives them meanwhile, and
none takes time from what is measured. Until a frame's arrival the process sleeps, but for the last `SPIN_NS`, which it spends
asking for the time: a sleep alone ends tens of microseconds late. At 30 Hz that costs 0.6 % of one core, which is left out of the
CPU time that is reported. What the process still starts late is part of the frame's wait, as in a robot's program.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

SPIN_NS = 200_000
GRACE_NS = 1_000_000_000
"""How long after the last arrival frames that wait are still worked off. What waits then counts as dropped: where all frames
wait and the model is too slow, the queue would take as long again as the run did."""


@dataclass
class Record:
    """`time.monotonic_ns` of every frame that was done. Arrays of machine integers: lists of Python's would show as memory."""

    arrived: array[int] = field(default_factory=lambda: array("q"))
    started: array[int] = field(default_factory=lambda: array("q"))
    done: array[int] = field(default_factory=lambda: array("q"))
    dropped: int = 0
    spun_ns: int = 0


def back_to_back(run: Callable[[], object], begin_ns: int, seconds: float) -> Record:
    """Each frame as soon as the one before it is done, until `seconds` are over; one at least."""
    record, clock = Record(), time.monotonic_ns
    end = begin_ns + round(seconds * 1e9)
    _wait(begin_ns, record)
    while True:
        started = clock()
        run()
        done = clock()
        record.arrived.append(started)
        record.started.append(started)
        record.done.append(done)
        if done >= end:
            return record


def camera(run: Callable[[], object], begin_ns: int, seconds: float, fps: float, *, latest: bool) -> Record:
    """The frames that arrive within `seconds` from `begin_ns`, one at least. `latest`: of those that arrived while the model
    worked only the newest is taken, older ones are dropped; otherwise all wait for their turn."""
    record, clock = Record(), time.monotonic_ns
    total = max(1, math.ceil(seconds * fps - 1e-6))
    end = begin_ns + round(seconds * 1e9)

    def arrival(number: int) -> int:
        return begin_ns + round(number * 1e9 / fps)

    number = 0
    while number < total:
        arrived = arrival(number)
        _wait(arrived, record)
        started = clock()
        if latest:
            newest = min(total - 1, max(number, int((started - begin_ns) * fps / 1e9)))
            # The division above is rounded: a frame of the future is not there yet.
            while newest > number and arrival(newest) > started:
                newest -= 1
            record.dropped += newest - number
            number, arrived = newest, arrival(newest)
        elif number and started > end + GRACE_NS:
            record.dropped += total - number
            return record
        run()
        done = clock()
        record.arrived.append(arrived)
        record.started.append(started)
        record.done.append(done)
        number += 1
    return record


def _wait(until_ns: int, record: Record) -> None:
    left = until_ns - time.monotonic_ns()
    if left > SPIN_NS:
        time.sleep((left - SPIN_NS) / 1e9)
    spinning = now = time.monotonic_ns()
    while now < until_ns:
        now = time.monotonic_ns()
    record.spun_ns += now - spinning
