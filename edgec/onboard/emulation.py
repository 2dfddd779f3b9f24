"""Whether this process is emulated: its machine code translated by qemu-user, box64, FEX or Rosetta on a CPU of another kind.

Such emulators answer as the CPU that they imitate: `uname`, /proc/cpuinfo, /proc/self/exe and /proc/self/maps are made up. What
they leave as it is, is the kernel's own word of its architecture, and the program that the kernel really started. (qemu-user 10.0
answers for /proc/self and /proc/PID, but not for /proc/thread-self nor /proc/self/task/TID.)
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Optional

_FAMILIES = {"amd64": "x86", "x86_64": "x86", "i386": "x86", "i686": "x86", "aarch64": "arm", "arm64": "arm"}
_ELF_MACHINES = {3: "x86", 62: "x86", 40: "arm", 183: "arm", 243: "riscv"}
"""`e_machine` in an ELF file's header. Source: the System V ABI, and its supplements."""
_NAMES = {"x86": "x86_64", "arm": "aarch64", "riscv": "riscv64"}


def emulated_on(machine: Optional[str] = None, proc: Path = Path("/proc")) -> Optional[str]:  # noqa: UP045 - Python 3.8
    """The architecture of the CPU underneath (`x86_64`, `aarch64`), or None if this process is not known to be emulated.

    `machine` is what the system says that it is, by default `platform.machine()`. A whole machine that is emulated, kernel
    included, cannot be told in this way: it is a virtual machine.
    """
    stated = _family(machine or platform.machine())
    if stated is None:
        return None
    for actual in (_of_kernel(proc), _of_program(proc)):
        if actual is not None and actual != stated:
            return _NAMES[actual]
    return None


def _family(machine: str) -> Optional[str]:  # noqa: UP045
    name = machine.strip().lower()
    if name.startswith("riscv"):
        return "riscv"
    return "arm" if name.startswith("armv") else _FAMILIES.get(name)


def _of_kernel(proc: Path) -> Optional[str]:  # noqa: UP045
    """Linux 6.1 and newer say it here."""
    try:
        return _family((proc / "sys" / "kernel" / "arch").read_text())
    except (OSError, ValueError):
        return None


def _of_program(proc: Path) -> Optional[str]:  # noqa: UP045
    """By the first bytes of the file that the kernel runs in this process."""
    for path in (proc / "thread-self" / "exe", proc / "self" / "task" / str(os.getpid()) / "exe"):
        try:
            with path.open("rb") as file:
                head = file.read(20)
        except OSError:
            continue
        if head[:4] == b"\x7fELF" and len(head) == 20:
            return _ELF_MACHINES.get(int.from_bytes(head[18:20], "big" if head[5] == 2 else "little"))
    return None
