"""Readings of a Linux host's sensors while something runs: clocks, temperatures, power and memory.

Power comes from RAPL's energy counters (Linux, Documentation/power/powercap/powercap.rst), which count up and wrap around at
`max_energy_range_uj`, and from INA monitors (Documentation/hwmon/ina2xx.rst, ina3221.rst), which show the present value, averaged
by the chip: millivolts times milliamperes are microwatts. Sensors that are not there, or may not be read, are absent.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import psutil

from edgec.records.report import Reading

_INPUT_RAILS = ("VDD_IN", "POM_5V_IN")
"""Rails that feed all the others of a board. Source: Jetson Linux Developer Guide, Power Monitors."""


class Sensors:
    """The sensors of the machine with these `/sys` and `/proc`, and the memory of the processes `pids`."""

    def __init__(self, pids: Sequence[int] = (), sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> None:
        self._pids, self._sys, self._proc = pids, sys, proc
        self._rails = _ina_rails(sys / "class/hwmon")
        self._temperatures = dict(_temperatures(sys / "class"))
        self._domains, self._denied = _rapl_domains(sys / "class/powercap")
        self._energy: dict[str, tuple[int, float]] = {}

    @property
    def caveats(self) -> tuple[str, ...]:
        """A sentence about sensors that are there but may not be read."""
        if not self._denied:
            return ()
        return (f"Power is unknown: this user may not read {self._denied} (root may; `chmod a+r` lets everybody).",)

    def begin(self) -> None:
        """Remember the counters, of which `read` gives the difference."""
        self._power()

    def read(self, at_ms: float) -> Reading:
        """All sensors now, `at_ms` after the run began."""
        return Reading(
            at_ms=round(max(0.0, at_ms), 1),
            cpu_mhz=self._mhz(),
            temperatures_c={
                name: value / 1000 for name, path in self._temperatures.items() if (value := _integer(path)) is not None
            },
            power_mw=self._power(),
            rss_bytes=self._rss(),
        )

    def _power(self) -> dict[str, float]:
        powers = {}
        for name, (path, most) in self._domains.items():
            micro, now = _integer(path), time.monotonic()
            if micro is None:
                continue
            if name in self._energy:
                before, then = self._energy[name]
                used = micro - before if micro >= before else micro - before + most
                # 1 uJ in 1 s is 1 uW.
                if now > then and used >= 0:
                    powers[name] = round(used / (now - then) / 1000, 1)
            self._energy[name] = micro, now
        for name, rail in self._rails.items():
            milliwatts = rail()
            if milliwatts is not None and milliwatts >= 0:
                powers[name] = round(milliwatts, 1)
        return powers

    def _mhz(self) -> float | None:
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        paths = (self._sys / f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq" for core in cores)
        khz = [value for path in paths if (value := _integer(path)) is not None]
        if khz:
            return round(sum(khz) / len(khz) / 1000, 1)
        try:
            text = (self._proc / "cpuinfo").read_text(errors="replace")
        except OSError:
            return None
        clocks = [float(value) for value in re.findall(r"^cpu MHz\s*:\s*([\d.]+)\s*$", text, re.MULTILINE)]
        return round(sum(clocks) / len(clocks), 1) if clocks else None

    def _rss(self) -> int | None:
        total = 0
        for pid in self._pids:
            try:
                total += int(psutil.Process(pid).memory_info().rss)
            except psutil.Error:
                return None
        return total if self._pids else None


def total_mw(power_mw: Mapping[str, float]) -> float | None:
    """The power of all rails and domains of a reading together, none counted twice; None if there is none.

    A board's input rail feeds all others. RAPL's `core` and `uncore` are parts of their package. `psys` is ignored, because
    firmware decides what it covers.
    """
    if not power_mw:
        return None
    inputs = [value for name, value in power_mw.items() if name in _INPUT_RAILS]
    if inputs:
        return sum(inputs)
    inside = ("core", "uncore", "psys")
    counted = [value for name, value in power_mw.items() if name.rpartition(" ")[2] not in inside]
    return sum(counted) if counted else None


def _rapl_domains(folder: Path) -> tuple[dict[str, tuple[Path, int]], str]:
    """Counters and their ranges by name, and the path of a counter that may not be read. Names of zones repeat between
    packages."""
    domains: dict[str, tuple[Path, int]] = {}
    denied = ""
    for zone in sorted(folder.glob("intel-rapl:*")):
        counter, most = zone / "energy_uj", _integer(zone / "max_energy_range_uj")
        parent = folder / zone.name.rpartition(":")[0]
        name = _word(zone / "name")
        if not name or most is None:
            continue
        if parent.name.count(":"):
            name = f"{_word(parent / 'name')} {name}"
        if _integer(counter) is None:
            denied = denied or (str(counter) if counter.exists() else "")
            continue
        domains[name] = counter, most
    return domains, "" if domains else denied


def _ina_rails(folder: Path) -> dict[str, Callable[[], float | None]]:
    """By the name of a rail, a function that reads its power in milliwatts now."""
    rails: dict[str, Callable[[], float | None]] = {}
    for chip in sorted(folder.glob("hwmon*")):
        kind = _word(chip / "name")
        if not kind.startswith("ina"):
            continue
        for number in _numbers(chip, r"power(\d+)_input"):
            path = chip / f"power{number}_input"
            label = _label(chip, number, kind, rails)
            rails[label] = partial(_power_mw, path)
        with_power = set(_numbers(chip, r"power(\d+)_input"))
        for number in _numbers(chip, r"curr(\d+)_input"):
            volts, amperes = chip / f"in{number}_input", chip / f"curr{number}_input"
            if number in with_power or not volts.is_file():
                continue
            label = _label(chip, number, kind, rails)
            rails[label] = partial(_product_mw, volts, amperes)
    return rails


def _label(chip: Path, number: int, kind: str, taken: Iterable[str]) -> str:
    names = (_line(chip / f"{what}{number}_label") for what in ("power", "in", "curr"))
    label = next((name for name in names if name), "") or f"{kind} {number}"
    return label if label not in taken else f"{label} ({chip.name})"


def _power_mw(microwatts: Path) -> float | None:
    value = _integer(microwatts)
    return None if value is None else value * 1e-3


def _product_mw(volts: Path, amperes: Path) -> float | None:
    millivolts, milliamperes = _integer(volts), _integer(amperes)
    return None if millivolts is None or milliamperes is None else millivolts * milliamperes / 1000


def _temperatures(classes: Path) -> Iterable[tuple[str, Path]]:
    seen: set[str] = set()
    sources = [
        *((_line(zone / "type"), zone / "temp") for zone in sorted(classes.glob("thermal/thermal_zone*"))),
        *(
            (f"{_word(path.parent / 'name')} {_line(path.with_name(path.name.replace('_input', '_label')))}".strip(), path)
            for path in sorted(classes.glob("hwmon/hwmon*/temp*_input"))
        ),
    ]
    for name, path in sources:
        if _integer(path) is None:
            continue
        label = name or path.parent.name
        if label in seen:
            label = f"{label} ({path.parent.name} {path.name.removesuffix('_input')})"
        seen.add(label)
        yield label, path


def _numbers(folder: Path, pattern: str) -> list[int]:
    return sorted(int(match[1]) for path in folder.iterdir() if (match := re.fullmatch(pattern, path.name)))


def _integer(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _line(path: Path) -> str:
    try:
        return " ".join(path.read_text(errors="replace").split())
    except OSError:
        return ""


def _word(path: Path) -> str:
    return _line(path).partition(" ")[0]
