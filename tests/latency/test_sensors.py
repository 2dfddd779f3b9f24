"""Sensors, on files as Linux lays them out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgec.host.sensors import Sensors, total_mw


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


PACKAGE = "class/powercap/intel-rapl:0"


def rapl(root: Path, micro: int) -> None:
    for zone, name in ((PACKAGE, "package-0"), (f"{PACKAGE}:0", "core"), (f"{PACKAGE}:1", "dram")):
        write(root, {f"{zone}/name": name, f"{zone}/energy_uj": str(micro), f"{zone}/max_energy_range_uj": "262143328850"})


def test_energy_is_counted_from_the_beginning_and_over_a_wrap(tmp_path: Path) -> None:
    rapl(tmp_path, 262143328000)
    sensors = Sensors(sys=tmp_path, proc=tmp_path)
    assert sensors.read(0).power_mw == {}
    rapl(tmp_path, 5_000_000)
    actual = sensors.read(1).power_mw
    assert actual.keys() == {"package-0", "package-0 core", "package-0 dram"}
    # The time between is not known here, but that something was used, and how they add up.
    assert all(value > 0 for value in actual.values())
    assert total_mw(actual) == pytest.approx(actual["package-0"] + actual["package-0 dram"])
    assert sensors.read(2).power_mw["package-0"] == 0, "the counter stood still"
    assert sensors.caveats == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_counters_that_may_not_be_read(tmp_path: Path) -> None:
    rapl(tmp_path, 1)
    for path in tmp_path.rglob("energy_uj"):
        path.chmod(0)
    sensors = Sensors(sys=tmp_path, proc=tmp_path)
    assert sensors.read(0).power_mw == {}
    assert len(sensors.caveats) == 1


def test_counters_that_cannot_be_read_are_absent_with_one_caveat(tmp_path: Path) -> None:
    rapl(tmp_path, 1)
    for path in tmp_path.rglob("energy_uj"):
        path.unlink()
        path.mkdir()
    sensors = Sensors(sys=tmp_path, proc=tmp_path)
    sensors.begin()
    assert sensors.read(0).power_mw == {}
    (caveat,) = sensors.caveats
    assert f"{PACKAGE}/energy_uj" in caveat


def test_ina_monitors(tmp_path: Path) -> None:
    write(
        tmp_path / "class/hwmon/hwmon1",
        {
            "name": "ina3221",
            "in1_label": "VDD_IN",
            "in1_input": "5000",
            "curr1_input": "1200",
            "in2_label": "VDD_CPU_GPU_CV",
            "in2_input": "5000",
            "curr2_input": "400",
            "in3_input": "4800",
        },
    )
    write(tmp_path / "class/hwmon/hwmon2", {"name": "ina226", "power1_input": "2500000", "in1_input": "1", "curr1_input": "1"})
    write(tmp_path / "class/hwmon/hwmon3", {"name": "amdgpu", "power1_input": "9"})
    actual = Sensors(sys=tmp_path, proc=tmp_path).read(0).power_mw
    assert actual == {"VDD_IN": 6000, "VDD_CPU_GPU_CV": 2000, "ina226 1": 2500}
    assert total_mw(actual) == 6000


def test_temperatures_and_clocks(tmp_path: Path) -> None:
    write(tmp_path / "class/thermal", {"thermal_zone0/type": "x86_pkg_temp", "thermal_zone0/temp": "47000"})
    write(tmp_path / "class/thermal", {"thermal_zone1/type": "gpu", "thermal_zone1/temp": "nonsense"})
    write(tmp_path / "class/hwmon/hwmon0", {"name": "coretemp", "temp1_label": "Core 0", "temp1_input": "46500"})
    write(tmp_path, {"cpuinfo": "cpu MHz\t\t: 1000.0\ncpu MHz\t\t: 3000.0"})
    sensors = Sensors([os.getpid()], sys=tmp_path, proc=tmp_path)
    actual = sensors.read(12.34)
    assert actual.temperatures_c == {"x86_pkg_temp": 47, "coretemp Core 0": 46.5}
    assert actual.cpu_mhz == 2000
    assert actual.at_ms == 12.3
    assert actual.rss_bytes is not None
    assert actual.rss_bytes > 1_000_000
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    write(tmp_path, {f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq": "1800000"})
    assert sensors.read(0).cpu_mhz == 1800


def test_a_machine_without_sensors(tmp_path: Path) -> None:
    sensors = Sensors([2**22 + 1], sys=tmp_path, proc=tmp_path)
    actual = sensors.read(0)
    assert (actual.cpu_mhz, actual.temperatures_c, actual.power_mw, actual.rss_bytes) == (None, {}, {}, None)
    assert sensors.caveats == ()
    assert total_mw({}) is None
