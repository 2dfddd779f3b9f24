"""The CPU time and memory that a container lets its processes use, from control groups version 1 and 2.

Any group above the process may have a limit, so every level is read and the tightest limit holds. Inside a container the mounted
tree usually begins at the container's own group while /proc/self/cgroup names the host's path: levels that are not there are
skipped.

Source: Linux, Documentation/admin-guide/cgroup-v2.rst (`cpu.max`, `memory.max`) and cgroup-v1 (`cpu.cfs_quota_us`,
`cpu.cfs_period_us`, `memory.limit_in_bytes`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")

# Version 1 writes "no limit" as the largest page-aligned integer; nothing near it is a real limit.
_NO_MEMORY_LIMIT = 1 << 60


def available_cores() -> int:
    """How many of our threads can run all the time, within affinity and the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return within_quota(cores, cpu_limit(membership()))


def within_quota(cores: int, quota: float | None) -> int:
    """`cores`, or as many as the quota pays for, rounded down, but at least one: a thread too many is throttled for the rest of
    each period, which shows as latency."""
    return max(1, cores if quota is None else min(cores, int(quota)))


def membership() -> str:
    """/proc/self/cgroup's text; empty where there is none."""
    return MEMBERSHIP.read_text() if MEMBERSHIP.is_file() else ""


def cpu_limit(membership: str, root: Path = ROOT) -> float | None:
    """How many CPUs' worth of time the quota allows; None if there is no quota. `membership` is /proc/self/cgroup's text."""
    limits = []
    for group in _groups(membership, "cpu", root):
        both = _words(group / "cpu.max")
        quota, period = both if len(both) == 2 else (_word(group / "cpu.cfs_quota_us"), _word(group / "cpu.cfs_period_us"))
        if quota.isdigit() and period.isdigit() and int(period) > 0:
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def memory_limit(membership: str, root: Path = ROOT) -> int | None:
    """The limit in bytes; None if there is none. `membership` is /proc/self/cgroup's text."""
    limits = []
    for group in _groups(membership, "memory", root):
        text = _word(group / "memory.max") or _word(group / "memory.limit_in_bytes")
        if text.isdigit() and int(text) < _NO_MEMORY_LIMIT:
            limits.append(int(text))
    return min(limits, default=None)


def _groups(membership: str, controller: str, root: Path) -> Iterator[Path]:
    """The directories of the process's groups that may limit `controller`, up to the mounts' roots."""
    for line in membership.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            mounts = [root, root / "unified"]
        elif controller in controllers.split(","):
            mounts = [root / controllers, root / controller]
        else:
            continue
        relative = PurePosixPath(path.lstrip("/"))
        for mount in mounts:
            yield from (mount / level for level in (relative, *relative.parents))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _word(path: Path) -> str:
    words = _words(path)
    return words[0] if words else ""
