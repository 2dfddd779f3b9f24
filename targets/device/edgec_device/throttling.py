"""What slows a board down: its power supply, its heat, and what its firmware says of both.

- Over-current events: `oc1_event_cnt` and so on beside a Jetson's sensors (NVIDIA Jetson Linux Developer Guide, Platform Power
  and Performance), counters.
- Overheating events: `thermal_throttle` of Intel's CPUs (Linux, arch/x86/kernel/cpu/mce/therm_throt.c), counters.
- Cooling devices of the kernel (Documentation/driver-api/thermal/sysfs-api.rst): a state above zero means that one is at work.
- A Raspberry Pi's firmware: `vcgencmd get_throttled` (Raspberry Pi documentation, vcgencmd). Bits 0 to 3 are about now, the same
  16 places higher about the time since it started. Without `vcgencmd`, the kernel knows of under-voltage (Documentation/hwmon/
  raspberrypi-hwmon.rst).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Mapping, Sequence

from edgec_device import darwin
from edgec_device.system import System, number, read

_FLAGS = ("under-voltage", "CPU clock capped", "throttled by the firmware", "soft temperature limit")
"""By bit of `get_throttled`."""
_SINCE_START = 16
_THROTTLED = re.compile(r"throttled=0x([0-9a-fA-F]{1,8})\b")
_NO_BRAKES = ("fan", "tcc offset", "iwlwifi", "lcd", "backlight", "led")
"""Cooling devices that slow no processor."""
_NAME = 60


@dataclass(frozen=True)
class Throttling:
    """At one moment: `events` are counters, `states` are of cooling devices, by name; `flags` are what the firmware says of now,
    `seen` of the time since the board started."""

    events: Mapping[str, float] = field(default_factory=dict)
    states: Mapping[str, float] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    seen: frozenset[str] = frozenset()

    @property
    def now(self) -> list[str]:
        """What slows the board down at this moment, in a few words each."""
        return sorted(self.flags) + [f"{name}: state {value:g}" for name, value in sorted(self.states.items()) if value > 0]


def throttling(system: System, *, firmware: bool = True) -> Throttling:
    """As far as the board shows it. Asking a Raspberry Pi's `firmware`, or macOS, starts a program."""
    events: dict[str, float] = {}
    for path in system.glob("/sys/class/hwmon/hwmon*/oc*_event_cnt"):
        value = number(path)
        if value is not None:
            events["over-current events, {}".format(path.name.split("_")[0])] = value
    for kind in ("core", "package"):
        counts = [
            number(path) for path in system.glob(f"/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/{kind}_throttle_count")
        ]
        if counts:
            events[f"overheating events, {kind}"] = sum(count or 0 for count in counts)
    states: dict[str, float] = {}
    for device in system.glob("/sys/class/thermal/cooling_device*"):
        name, value = (read(device / "type") or "")[:_NAME], number(device / "cur_state")
        if value is not None and not any(word in name.lower() for word in _NO_BRAKES):
            states[f"cooling device {name}"] = max(value, states.get(f"cooling device {name}", 0))
    states.update(darwin.throttling(system) if firmware else {})
    flags, seen = _by_firmware(system) if firmware else (frozenset(), frozenset())
    return Throttling(events, states, flags | _by_kernel(system), seen)


def _by_firmware(system: System) -> tuple[frozenset[str], frozenset[str]]:
    match = _THROTTLED.search(system.run("vcgencmd", "get_throttled") or "")
    bits = int(match.group(1), 16) if match else 0
    flags = frozenset(name for bit, name in enumerate(_FLAGS) if bits >> bit & 1)
    return flags, frozenset(name for bit, name in enumerate(_FLAGS, _SINCE_START) if bits >> bit & 1)


def _by_kernel(system: System) -> frozenset[str]:
    for chip in system.glob("/sys/class/hwmon/hwmon*"):
        if read(chip / "name") == "rpi_volt" and number(chip / "in0_lcrit_alarm"):
            return frozenset(_FLAGS[:1])
    return frozenset()


def reasons(before: Throttling, during: Sequence[Throttling], after: Throttling) -> list[str]:
    """What slowed the board down in between, in a few words each; empty if nothing shows that anything did."""
    meanwhile = [*during, after]
    found = sorted(frozenset().union(*(each.flags for each in meanwhile), after.seen - before.seen))
    for name in sorted({name for each in meanwhile for name in each.events}):
        grown = max(each.events.get(name, 0) for each in meanwhile) - before.events.get(name, 0)
        if grown > 0:
            found.append(f"{name}: {grown:g} more")
    for name in sorted({name for each in meanwhile for name in each.states}):
        most = max(each.states.get(name, 0) for each in meanwhile)
        if most > 0:
            found.append(f"{name}: state {most:g}")
    return found


def history(state: Throttling) -> list[str]:
    """A sentence if the board was slowed down at some time since it started."""
    if not state.seen:
        return []
    happened = ", ".join(sorted(state.seen))
    return [f"Since it started, the board has had: {happened} (vcgencmd get_throttled). Check its power supply and its cooling."]
