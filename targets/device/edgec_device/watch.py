"""The board while something is measured: power, clocks, temperatures, throttling, other work. Nothing is changed."""

from __future__ import annotations

import time
from typing import Any, Mapping

from edgec_device import sensors
from edgec_device.load import Between, Load
from edgec_device.system import System
from edgec_device.throttling import Throttling, reasons, throttling

_EVERY_S = 2.0
"""How often it is asked what costs time: a Raspberry Pi's firmware, and the clock of every core."""


class Watch:
    """Begins when it is made. Call `sample` at regular intervals, and `end` at the end."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._rails: list[Mapping[str, float]] = []
        self._during: list[Throttling] = []
        self._mhz: list[float] = []
        self._asked = 0.0
        self._idle = sensors.rails(system)
        self._before = self._state()
        self.throttling = throttling(system)
        """Before."""
        self._load = Load.read(system)

    def sample(self) -> None:
        """Read the sensors once."""
        asks = time.monotonic() - self._asked > _EVERY_S
        self._rails.append(sensors.rails(self._system))
        self._during.append(throttling(self._system, firmware=asks))
        if asks:
            self._asked = time.monotonic()
            mhz = sensors.cpu_clocks(self._system)["cpu_cur_mhz"]
            self._mhz += [] if mhz is None else [mhz]

    def end(self) -> tuple[dict[str, Any], list[str], Between]:
        """The conditions, as `bench.json` has them; what slowed the board down, in a few words each; and what else it did."""
        span = Between.of(self._load, Load.read(self._system))
        conditions = {
            "before": self._before,
            "after": self._state(),
            "cpu_mhz": round(sum(self._mhz) / len(self._mhz), 1) if self._mhz else None,
            "power_idle_mw": self._idle,
            "power_mw": self._power_mw(),
        }
        return conditions, reasons(self.throttling, self._during, throttling(self._system)), span

    def _state(self) -> dict[str, Any]:
        return {"temperatures_c": sensors.temperatures(self._system), "clocks": sensors.clocks(self._system)}

    def _power_mw(self) -> dict[str, dict[str, float]]:
        """Mean and largest power in mW, and the number of samples, by rail."""
        power = {}
        for name in sorted({name for sample in self._rails for name in sample}):
            values = [sample[name] for sample in self._rails if name in sample]
            power[name] = {"mean": round(sum(values) / len(values), 1), "max": round(max(values), 1), "samples": len(values)}
        return power
