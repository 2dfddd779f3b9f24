"""Power, temperatures, clocks and throttling, as far as the board shows them without root. Nothing is changed.

- Power: INA3221 and similar under /sys/class/hwmon (JetPack 5 and newer; in mV and mA, kernel documentation hwmon/ina3221, or in
  uW if the driver multiplies), or as iio devices (JetPack 4).
- Temperatures: /sys/class/thermal, in thousandths of a degree.
- GPU clock: /sys/class/devfreq, in Hz.
- Throttling: counters of over-current events (`oc1_event_cnt` beside the sensors, NVIDIA Jetson Linux Developer Guide, Platform
  Power and Performance), and the state of the cooling devices that the kernel uses against heat.
- What macOS has instead: `darwin`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Mapping, Sequence

from edgec_device import darwin
from edgec_device.system import System, number, read

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
    """The GPU's clock and its limits in MHz, the CPUs' governors, whether the GPU's clock is fixed (as jetson_clocks does), and
    what `jetson_clocks --show` prints, which needs root."""
    gpu = next((path for path in system.glob("/sys/class/devfreq/*") if _is_gpu(path)), None)
    hertz = {name: number(gpu / (name + "_freq")) if gpu else None for name in ("cur", "min", "max")}
    facts: dict[str, Any] = {f"gpu_{name}_mhz": value and round(value / 1e6, 1) for name, value in hertz.items()}
    facts["gpu_fixed"] = None if hertz["min"] is None or hertz["max"] is None else hertz["min"] == hertz["max"]
    governors = {_name(path) for path in system.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")}
    facts["governor"] = ", ".join(sorted(name for name in governors if name)) or None
    shown = system.run("jetson_clocks", "--show")
    facts["jetson_clocks"] = shown.splitlines() if shown else None
    return facts


def temperatures(system: System) -> dict[str, float]:
    """Degrees Celsius by zone; zones that are switched off are left out."""
    degrees = {}
    for zone in system.glob("/sys/class/thermal/thermal_zone*"):
        name, value = _name(zone / "type"), number(zone / "temp")
        if name and value is not None and value > 0:
            degrees[name] = round(value / 1000, 1)
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


def throttling(system: System) -> dict[str, float]:
    """Counters of over-current events, and states of cooling devices other than fans, by name. A counter that grows, or a state
    above zero, means that the board was slowed down. Starts processes on a Mac: not for while something is measured."""
    return {**_counters(system), **darwin.throttling(system)}


def _counters(system: System) -> dict[str, float]:
    """Those that are files."""
    values = {}
    for path in system.glob("/sys/class/hwmon/hwmon*/oc*_event_cnt"):
        value = number(path)
        if value is not None:
            values["over-current events, {}".format(path.name.split("_")[0])] = value
    for device in system.glob("/sys/class/thermal/cooling_device*"):
        name, value = _name(device / "type") or "", number(device / "cur_state")
        if value is not None and "fan" not in name:
            values[f"cooling device {name}"] = max(value, values.get(f"cooling device {name}", 0))
    return values


class PowerMeter:
    """Power and throttling during a measurement. Call `sample` at regular intervals while it runs."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._samples: list[Mapping[str, float]] = []
        self._active: dict[str, float] = {}

    def sample(self) -> None:
        """Read the sensors once."""
        self._samples.append(rails(self._system))
        for name, value in _counters(self._system).items():
            self._active[name] = max(value, self._active.get(name, 0))

    @property
    def power_mw(self) -> dict[str, dict[str, float]]:
        """Mean and largest power in mW, and the number of samples, by rail."""
        names = sorted({name for sample in self._samples for name in sample})
        power = {}
        for name in names:
            values = [sample[name] for sample in self._samples if name in sample]
            power[name] = {"mean": round(sum(values) / len(values), 1), "max": round(max(values), 1), "samples": len(values)}
        return power

    def throttled(self, before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
        """What slowed the board down in between, a sentence each; empty if nothing shows that anything did."""
        reasons = []
        for name in sorted({*before, *after, *self._active}):
            most = max(after.get(name, 0), self._active.get(name, 0))
            if name.startswith("over-current"):
                grown = most - before.get(name, 0)
                if grown > 0:
                    reasons.append(f"{name}: {grown:g} more")
            elif most > 0:
                reasons.append(f"{name}: state {most:g}")
        return reasons


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


def caveats(mode: str | None, clocks: Mapping[str, Any], throttled: Sequence[str]) -> list[str]:
    """Why the board may be able to run faster than measured, a sentence each."""
    of_mac = darwin.power_caveats(mode)
    sentences = list(of_mac or ())
    if of_mac is None and mode is not None and not mode.startswith("MAXN"):
        sentences.append(f"The power mode is {mode}, not the board's fastest (nvpmodel).")
    if clocks.get("gpu_fixed") is False:
        sentences.append("The GPU's clock follows the load (jetson_clocks is off), so timings vary with the clock.")
    if throttled:
        sentences.append("The board was throttled while measuring: {}.".format("; ".join(throttled)))
    return sentences
