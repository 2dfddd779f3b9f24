"""Power, temperatures and clocks, as far as the board shows them without root. Nothing is changed.

- Power: INA3221 and similar under /sys/class/hwmon (JetPack 5 and newer; in mV and mA, kernel documentation hwmon/ina3221, or in
  uW if the driver multiplies), or as iio devices (JetPack 4).
- Temperatures: /sys/class/thermal, and /sys/class/hwmon of PCs' CPUs, in thousandths of a degree.
- CPU clocks: cpufreq in /sys/devices/system/cpu, in kHz (Linux, Documentation/admin-guide/pm/cpufreq.rst); where that is missing,
  /proc/cpuinfo.
- GPU clock: /sys/class/devfreq, in Hz.
- What macOS has instead: `darwin`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Mapping, Sequence

from edgec_device import darwin
from edgec_device.system import System, number, read

_CPU_CHIPS = ("coretemp", "k10temp", "zenpower")
_OF_ALL_CORES = re.compile(r"Package id \d{1,3}|Tctl|Tdie")
_POWER_CHIPS = ("ina3221", "ina226", "ina238", "ina219", "ina2xx")
_MODE = re.compile(r"NV Power Mode: *(\S{1,60})")
_NAME = 60
"""The most characters of a name."""


def power_mode(system: System) -> str | None:
    """The power mode's name from nvpmodel, such as MAXN_SUPER, or a Mac's power source; None if it is not known."""
    match = _MODE.search(system.run("nvpmodel", "-q") or "")
    return match.group(1) if match else darwin.power(system)


def memory_available(system: System) -> int | None:
    """In bytes; None if it is not known."""
    known = memory_bytes(system, "MemAvailable")
    return darwin.memory_available(system) if known is None else known


def memory_bytes(system: System, name: str) -> int | None:
    """A line of /proc/meminfo, in bytes; None if there is none of that name."""
    match = re.search(rf"^{name}:\s+(\d{{1,15}})\b", system.text("/proc/meminfo") or "", re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def clocks(system: System) -> dict[str, Any]:
    """The GPU's clock and its limits in MHz, `cpu_clocks`, the CPUs' governors, whether the GPU's clock is fixed (as
    `jetson_clocks` does), and what `jetson_clocks --show` prints, which needs root."""
    gpu = next((path for path in system.glob("/sys/class/devfreq/*") if _is_gpu(path)), None)
    hertz = {name: number(gpu / (name + "_freq")) if gpu else None for name in ("cur", "min", "max")}
    facts: dict[str, Any] = {f"gpu_{name}_mhz": value and round(value / 1e6, 1) for name, value in hertz.items()}
    facts.update(cpu_clocks(system))
    facts["gpu_fixed"] = None if hertz["min"] is None or hertz["max"] is None else hertz["min"] == hertz["max"]
    governors = {_name(path) for path in system.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")}
    facts["governor"] = ", ".join(sorted(name for name in governors if name)) or None
    shown = system.run("jetson_clocks", "--show")
    facts["jetson_clocks"] = shown.splitlines() if shown else None
    return facts


def cpu_clocks(system: System) -> dict[str, float | None]:
    """In MHz: `cpu_cur_mhz`, the mean of all cores now; `cpu_limit_mhz`, the most that the fastest core may reach now;
    `cpu_max_mhz`, the most that it can."""
    names = {"cur": "scaling_cur_freq", "limit": "scaling_max_freq", "max": "cpuinfo_max_freq"}
    found: dict[str, list[float]] = {}
    for kind, name in names.items():
        values = [number(path) for path in system.glob(f"/sys/devices/system/cpu/cpu[0-9]*/cpufreq/{name}")]
        found[kind] = [value / 1000 for value in values if value is not None]
    if not found["cur"]:
        shown = re.findall(r"^cpu MHz\s*: (\d{1,6}(?:\.\d{1,6})?)\s*$", system.text("/proc/cpuinfo") or "", re.MULTILINE)
        found["cur"] = [float(value) for value in shown]
    current = round(sum(found["cur"]) / len(found["cur"]), 1) if found["cur"] else None
    return {"cpu_cur_mhz": current, **{f"cpu_{kind}_mhz": max(found[kind], default=None) for kind in ("limit", "max")}}


def temperatures(system: System) -> dict[str, float]:
    """Degrees Celsius by zone; zones that are switched off are left out."""
    degrees = {}
    for zone in system.glob("/sys/class/thermal/thermal_zone*"):
        name, value = _name(zone / "type"), number(zone / "temp")
        if name and value is not None and value > 0:
            degrees[name] = round(value / 1000, 1)
    for chip in system.glob("/sys/class/hwmon/hwmon*"):
        kind = read(chip / "name") or ""
        for path in sorted(chip.glob("temp*_label")) if kind in _CPU_CHIPS else ():
            label, value = _name(path) or "", number(path.with_name(path.name.replace("_label", "_input")))
            if _OF_ALL_CORES.fullmatch(label) and value is not None:
                degrees[f"{kind} {label}"] = round(value / 1000, 1)
    return degrees


def rails(system: System) -> dict[str, float]:
    """Power by rail, in mW."""
    power = {}
    for chip in system.glob("/sys/class/hwmon/hwmon*"):
        if (read(chip / "name") or "") in _POWER_CHIPS:
            power.update(_hwmon_rails(chip))
    for device in system.glob("/sys/bus/i2c/drivers/ina3221x/*/iio:device*"):
        power.update(_iio_rails(device))
    return power


def _name(path: Path) -> str | None:
    text = read(path)
    return None if text is None else text[:_NAME]


def _is_gpu(path: Path) -> bool:
    name = path.name
    return "gpu" in name or name.endswith((".ga10b", ".gv11b", ".gp10b"))


def _hwmon_rails(chip: Path) -> dict[str, float]:
    power = {}
    for channel in (1, 2, 3):
        label = _name(chip / f"in{channel}_label") or _name(chip / f"power{channel}_label")
        label = label or f"{chip.name} {channel}"
        volts, amperes = number(chip / f"in{channel}_input"), number(chip / f"curr{channel}_input")
        microwatts = number(chip / f"power{channel}_input")
        if label == "NC":  # not connected
            continue
        if microwatts is not None:
            power[label] = round(microwatts / 1e3, 1)
        elif volts is not None and amperes is not None:
            power[label] = round(volts * amperes / 1e3, 1)
    return power


def _iio_rails(device: Path) -> dict[str, float]:
    power = {}
    for channel in range(3):
        label, milliwatts = _name(device / f"rail_name_{channel}"), number(device / f"in_power{channel}_input")
        if label and milliwatts is not None:
            power[label] = milliwatts
    return power


def caveats(mode: str | None, clocks: Mapping[str, Any], throttled: Sequence[str], *, on_cpu: bool) -> list[str]:
    """Why the board may be able to run faster than measured, a sentence each. `on_cpu`: engines run on its CPU."""
    of_mac = darwin.power_caveats(mode)
    sentences = list(of_mac or ())
    if of_mac is None and mode is not None and not mode.startswith("MAXN"):
        sentences.append(f"The power mode is {mode}, not the board's fastest (nvpmodel).")
    if clocks.get("gpu_fixed") is False:
        sentences.append("The GPU's clock follows the load (jetson_clocks is off), so timings vary with the clock.")
    governor, limit, most = (clocks.get(name) if on_cpu else None for name in ("governor", "cpu_limit_mhz", "cpu_max_mhz"))
    if governor and governor != "performance":
        sentences.append(
            f"The CPU governor is {governor}, not performance: clocks follow the load, and timings follow the clocks."
        )
    if limit and most and limit < most:
        sentences.append(f"The CPU may not run faster than {limit:g} of {most:g} MHz (scaling_max_freq).")
    if throttled:
        sentences.append("The board was throttled while measuring: {}.".format("; ".join(throttled)))
    return sentences
