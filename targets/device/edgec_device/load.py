"""What else the machine does while something is measured: other work on its cores, and want of memory.

- /proc/stat: the time that all cores together have spent, by kind, in ticks (proc(5)). A hypervisor's share (`steal`) counts as
  work; time of guests is counted within user time already.
- /proc/pressure/memory: the microseconds in which some work waited for memory (Linux, Documentation/accounting/psi.rst).
"""

from __future__ import annotations

import os
import re
import resource
import time
from dataclasses import dataclass

from edgec_device.system import System

_BUSY = (0, 1, 2, 5, 6, 7)
"""user, nice, system, irq, softirq, steal; not idle (3) and iowait (4)."""
_STALLED = re.compile(r"^some .*\btotal=(\d{1,15})\b", re.MULTILINE)
_CPU = re.compile(r"^cpu +(\d[\d ]{0,300})$", re.MULTILINE)


@dataclass(frozen=True)
class Load:
    """Seconds since the machine started: of all cores' work, of this process's and its ended children's, and of waiting for
    memory. None where the machine does not say."""

    at_s: float
    busy_s: float | None
    own_s: float
    stalled_s: float | None

    @classmethod
    def read(cls, system: System) -> Load:
        """Now."""
        own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        times = _CPU.search(system.text("/proc/stat") or "")
        stalled = _STALLED.search(system.text("/proc/pressure/memory") or "")
        ticks = [int(value) for value in times.group(1).split()] if times else []
        return cls(
            time.monotonic(),
            sum(ticks[kind] for kind in _BUSY) / os.sysconf("SC_CLK_TCK") if len(ticks) > max(_BUSY) else None,
            sum(used.ru_utime + used.ru_stime for used in own),
            int(stalled.group(1)) / 1e6 if stalled else None,
        )


@dataclass(frozen=True)
class Between:
    """Seconds between two moments: `others_s` of other work, all cores together; `stalled_s` of waiting for memory."""

    elapsed_s: float
    others_s: float | None
    stalled_s: float | None

    @classmethod
    def of(cls, before: Load, after: Load) -> Between:
        """Between these two."""
        others = stalled = None
        if before.busy_s is not None and after.busy_s is not None:
            others = max(0.0, after.busy_s - before.busy_s - (after.own_s - before.own_s))
        if before.stalled_s is not None and after.stalled_s is not None:
            stalled = max(0.0, after.stalled_s - before.stalled_s)
        return cls(after.at_s - before.at_s, others, stalled)


def other_cores(spans: list[Between]) -> float | None:
    """How many cores' worth of other work the machine did; None if it does not say."""
    others = [span.others_s for span in spans if span.others_s is not None]
    return round(sum(others) / sum(span.elapsed_s for span in spans), 3) if len(others) == len(spans) else None


def stalled_share(spans: list[Between]) -> float | None:
    """The share of the time in which some work waited for memory; None if the machine does not say."""
    stalled = [span.stalled_s for span in spans if span.stalled_s is not None]
    return round(sum(stalled) / sum(span.elapsed_s for span in spans), 4) if len(stalled) == len(spans) else None
