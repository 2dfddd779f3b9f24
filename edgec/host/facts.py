"""The machine that runs this process: what its CPU can do, how much of it this process may use, and what makes timings
doubtful."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

import edgec
from edgec.onboard import cgroup, cpuinfo
from edgec.onboard.emulation import emulated_on
from edgec.records.evidence import Evidence
from edgec.records.report import Host

PACKAGES = ("numpy", "openvino", "onnxruntime", "onnx", "torch", "coremltools", "tensorrt")

# Beyond this share of the cores busy with other work, a measurement competes for them.
_BUSY = 0.25
# The share of the cores that a measurement needs, above which others may not have used them meanwhile.
_TAKEN = 0.1


def facts() -> Host:
    """Facts about this machine, read anew each time, because governors and quotas change while a process lives. Imports no
    runtime."""
    cpu = _cpu()
    logical = os.cpu_count() or 1
    memory = cgroup.memory_limit(cgroup.membership())
    installed = int(psutil.virtual_memory().total)
    return Host(
        cpu=cpu.name,
        architecture=cpuinfo.architecture(platform.machine()),
        isa=cpu.isa,
        physical_cores=psutil.cpu_count(logical=False) or logical,
        logical_cores=logical,
        usable_cores=available_cores(),
        memory_bytes=min(installed, memory) if memory else installed,
        governor=governor(),
        virtual_machine=cpu.virtual if cpu.virtual is not None else _virtual_by_firmware(),
        emulated_on=emulated_on(),
        os=_os(),
        python=platform.python_version(),
        versions=versions(),
    )


def available_cores() -> int:
    """How many of our threads can run all the time, within affinity and the container's quota."""
    return cgroup.available_cores()


def governor(folder: Path = Path("/sys/devices/system/cpu")) -> str | None:
    """The frequency governor of the CPUs, joined by `, ` if they differ; None if the host does not say."""
    names = set()
    for path in folder.glob("cpu[0-9]*/cpufreq/scaling_governor"):
        try:
            names.add(path.read_text().strip())
        except OSError:
            continue
    return ", ".join(sorted(names)) or None


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """The versions of edgec and of those `packages` that are installed, from their metadata; nothing is imported."""
    installed = {"edgec": edgec.__version__}
    for package in packages:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def load_average() -> float:
    """The number of processes that ran or waited for a CPU, averaged over the last minute."""
    return float(psutil.getloadavg()[0])


def caveats(host: Host, load: float) -> tuple[str, ...]:
    """Sentences about why timings taken on `host` now may not be repeatable. `load` is from before the measurement."""
    sentences = []
    if host.emulated_on is not None:
        sentences.append(
            f"This {host.architecture} CPU is emulated on {host.emulated_on}: what it computes counts, how long it takes says "
            "nothing about any board."
        )
    if host.governor is not None and host.governor != "performance":
        sentences.append(
            f"The CPU governor is {host.governor}, not performance: clocks follow the load, and timings follow the clocks."
        )
    if load > _BUSY * host.logical_cores:
        sentences.append(f"Other work is running: the load average is {load:.1f} on {host.logical_cores} logical cores.")
    if host.virtual_machine:
        sentences.append("This is a virtual machine: work of other guests that it cannot see shows in p90, p99 and max.")
    return tuple(sentences)


def evidence_here(host: Host, lacks: Sequence[str] | None) -> Evidence:
    """What is measured on `host` is worth, for a target of which it `lacks` this; None if the target is not known here."""
    if host.emulated_on is not None:
        return Evidence.EMULATED
    return Evidence.TARGET if lacks is not None and not lacks else Evidence.HOST


def contention(host: Host, threads: int, other_cores: Sequence[float], *, during: str = "While measuring") -> tuple[str, ...]:
    """A sentence if other work took cores that our `threads` needed. It begins with `during`; `other_cores` are
    `Measurement.other_cores`."""
    most = max(other_cores, default=0.0)
    if most <= max(0, host.logical_cores - threads) + _TAKEN * threads:
        return ()
    return (
        f"{during}, other work used up to {most:.1f} of {host.logical_cores} logical cores: the figures are too high, p90 "
        "and above most of all.",
    )


def describe(host: Host) -> str:
    """One line about the host, for tables."""
    cores = f"{host.usable_cores} of {host.logical_cores} logical cores usable"
    cpu = host.cpu if host.emulated_on is None else f"{host.cpu} (emulated on {host.emulated_on})"
    rest = [cpu, cores, f"{host.memory_bytes / 1e9:.1f} GB", host.os]
    if host.governor is not None:
        rest.append(f"governor {host.governor}")
    return ", ".join(rest)


def _cpu() -> cpuinfo.Cpu:
    if platform.system() == "Darwin":
        keys = ["machdep.cpu", "hw.optional", "kern.hv_vmm_present"]
        answer = subprocess.run(["sysctl", *keys], capture_output=True, text=True, check=False, timeout=10)
        return cpuinfo.from_sysctl(answer.stdout)
    proc, tree = Path("/proc/cpuinfo"), Path("/proc/device-tree/model")
    board = tree.read_text(errors="replace").rstrip("\0\n") if tree.is_file() else ""
    if proc.is_file():
        return cpuinfo.from_proc(proc.read_text(errors="replace"), board)
    return cpuinfo.Cpu(platform.processor() or "unknown", ())


def _virtual_by_firmware() -> bool | None:
    """Whether this is a virtual machine, by its firmware, which names the well-known hypervisors: Arm's CPU flags do not say.
    None if there is no firmware table."""
    if Path("/proc/device-tree/hypervisor").exists():
        return True
    product = Path("/sys/class/dmi/id/product_name")
    if not product.is_file():
        return None
    return any(word in product.read_text(errors="replace") for word in ("KVM", "QEMU", "Virtual", "VMware"))


def _os() -> str:
    if platform.system() == "Darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    return f"{name}, {platform.system()} {platform.release()}"
