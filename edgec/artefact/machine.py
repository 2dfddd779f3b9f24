"""Which machine this is, as far as arithmetic is concerned: on machines with the same fingerprint, the same version of a runtime
uses the same kernels, and computes the same bits with as many threads."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

import numpy as np

from edgec.lowering import registry
from edgec.lowering.base import Runner
from edgec.onboard.emulation import emulated_on
from edgec.records.manifest import Execution

_CPUINFO = Path("/proc/cpuinfo")
_LIMIT_BYTES = 1 << 20
_FIELDS = {
    *("vendor_id", "cpu family", "model", "model name", "stepping", "cache size", "flags"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features"),
}
"""What Linux says about a core, on x86 and on Arm, that does not change with clock, load or driver."""


def execution(runtime: str, runner: Runner) -> Execution:
    """How `runner`, loaded by the lowering of this name, computes here."""
    version = f"{registry.get(runtime).runnable().version}, numpy {np.__version__}"
    return Execution(machine=fingerprint(), version=version, threads=runner.threads)


def fingerprint(cpuinfo: Path = _CPUINFO) -> str:
    """SHA-256, in hex, over the kinds of cores, their instructions and caches; without /proc/cpuinfo over what Python knows."""
    facts = {platform.machine(), platform.system()}
    if (underneath := emulated_on()) is not None:
        facts.add(f"emulated on {underneath}")  # it says that it is a CPU which it only imitates
    try:
        with cpuinfo.open("rb") as file:
            lines = file.read(_LIMIT_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        lines = [f"model name: {platform.processor()}"]
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in _FIELDS:
            facts.add(f"{name.strip()}: {' '.join(sorted(value.split()))}")
    return hashlib.sha256("\n".join(sorted(facts)).encode("utf-8", "surrogateescape")).hexdigest()
