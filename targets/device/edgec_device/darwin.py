"""What macOS says without root about power, memory and heat. Nothing is changed.

`pmset` and `memory_pressure` print what is read here; both are part of macOS. Temperatures, clocks and watts need root there
(`powermetrics`), and are not recorded. **This has not run on a Mac yet**: tests use commands that print what their manual pages
say.
"""

from __future__ import annotations

import re

from edgec_device.system import System

SAVING = "low power mode"
_SOURCES = ("AC Power", "Battery Power", "UPS Power", "unknown power")


def power(system: System) -> str | None:
    """The power source, and whether low power mode is on: "AC Power", "Battery Power, low power mode". None if it is not
    known."""
    source = re.search(r"drawing from '([^']{1,60})'", system.run("pmset", "-g", "batt") or "")
    saving = re.search(r"^\s*lowpowermode\s+1\b", system.run("pmset", "-g") or "", re.MULTILINE)
    if not source and not saving:
        return None
    return (source.group(1) if source else "unknown power") + f", {SAVING}" * bool(saving)


def power_caveats(mode: str | None) -> list[str] | None:
    """Why a Mac may be able to run faster than with this power; None if it is no Mac's."""
    if mode is None or not mode.startswith(_SOURCES):
        return None
    return [] if mode == _SOURCES[0] else [f"The Mac ran on {mode}, which may slow it down."]


def memory_available(system: System) -> int | None:
    """In bytes, from the share that is free."""
    share = re.search(r"free percentage: (\d{1,3})%", system.run("memory_pressure", "-Q") or "")
    size = re.fullmatch(r"\d{1,18}", system.run("sysctl", "-n", "hw.memsize") or "") if share else None
    return int(size.group()) * int(share.group(1)) // 100 if share and size else None


def throttling(system: System) -> dict[str, float]:
    """By name, how far macOS limits the processors against heat: 0 where it does not."""
    text = system.run("pmset", "-g", "therm") or ""
    limits = {}
    for name, value in re.findall(r"^\s*CPU_(Speed|Scheduler)_Limit\s*=\s*(\d{1,3})\s*$", text, re.MULTILINE):
        limits[f"CPU {name.lower()} limit, percent below its most"] = float(100 - min(100, int(value)))
    for name, value in re.findall(r"\b(thermal|performance) warning level\D{1,20}(\d{1,3})\b", text, re.IGNORECASE):
        limits[f"{name.lower()} warning level"] = float(value)
    return limits
