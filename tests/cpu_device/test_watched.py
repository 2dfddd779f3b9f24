"""Boards are watched while they measure: what slowed them down is in the report, and such a report is not judged."""

from __future__ import annotations

from pathlib import Path

from edgec.report.compare.opening import open_side
from edgec.report.compare.verdicts import compare
from tests.cpu_device.machines import write, write_facts
from tests.device.robot import Robot

ORT = "onnxruntime-fp32"
FIRMWARE = """#!/bin/sh
# {first} when it is asked first, {then} from then on. By then the machine has done other work, and waited for memory.
folder=$(dirname "$0")/../..
if [ -e "$folder/asked" ]; then
    echo throttled={then}
    echo 'cpu  900000 0 100 100000 0 0 0 0 0 0' > "$folder/proc/stat"
    echo 'some avg10=9.00 avg60=0.00 avg300=0.00 total=900000000' > "$folder/proc/pressure/memory"
else
    echo throttled={first}
    touch "$folder/asked"
fi
"""


def bench(active: Robot, facts: Path) -> tuple[tuple[str, ...], str]:
    """What throttled it while it measured, and the notes of the report."""
    active.facts = facts
    done = active.run("bench", "--variant", ORT)
    assert done.code == 0, done
    report = active.report()
    (candidate,) = (each for each in report.candidates if each.name == ORT)
    assert candidate.latency is not None
    return candidate.latency.throttled, " ".join(report.notes)


def test_a_raspberry_pi_with_a_weak_power_supply(active: Robot, tmp_path: Path) -> None:
    """Its firmware says so; what it has seen before does not count as having happened meanwhile."""
    before = open_side(active.measurements, ORT)
    facts = write_facts(tmp_path / "facts")
    write(facts, "usr/bin/vcgencmd", FIRMWARE.format(first="0x20000", then="0x70005")).chmod(0o755)
    write(facts, "sys/class/thermal/cooling_device0/type", "thermal-cpufreq-0\n")
    write(facts, "sys/class/thermal/cooling_device0/cur_state", "1\n")
    write(facts, "sys/class/thermal/cooling_device1/type", "TCC Offset\n")
    write(facts, "sys/class/thermal/cooling_device1/cur_state", "3\n")
    write(facts, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand\n")
    write(facts, "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "1500000\n")
    throttled, notes = bench(active, facts)
    assert throttled == ("throttled by the firmware", "under-voltage", "cooling device thermal-cpufreq-0: state 1")
    for words in (
        "The board was throttled while measuring: throttled by the firmware; under-voltage",
        "Since it started, the board has had: CPU clock capped, throttled by the firmware, under-voltage",
        "The CPU governor is ondemand, not performance",
        "The CPU may not run faster than 1500 of 2400 MHz",
        "other work used",
        "Work waited for memory",
    ):
        assert words in notes
    after = open_side(active.measurements, ORT)
    for judged in compare(before, after).latency:
        assert judged.verdict is None
        assert judged.why_not
    record = active.record(next(path.name for path in (active.home / "engines").glob(f"{ORT}-*")), "bench")
    assert record["other_cores"] > 1
    assert record["memory_stalled"] > 0.01


def test_preflight_says_what_slows_the_board_down_now(active: Robot, tmp_path: Path) -> None:
    active.facts = write_facts(tmp_path / "facts")
    write(active.facts, "usr/bin/vcgencmd", "#!/bin/sh\necho throttled=0x80008\n").chmod(0o755)
    lines = [event["line"] for event in active.run("preflight").of("log")]
    assert "The board is slowed down at this moment: soft temperature limit." in lines
    assert any("has had: soft temperature limit" in line for line in lines)


def test_without_the_firmware_s_program(active: Robot, tmp_path: Path) -> None:
    """The kernel knows of under-voltage; a PC's CPU counts how often it was too hot, and only new events count."""
    facts = write_facts(tmp_path / "facts")
    write(facts, "sys/class/hwmon/hwmon2/name", "rpi_volt\n")
    write(facts, "sys/class/hwmon/hwmon2/in0_lcrit_alarm", "1\n")
    write(facts, "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "7\n")
    write(facts, "sys/class/hwmon/hwmon0/name", "coretemp\n")
    write(facts, "sys/class/hwmon/hwmon0/temp1_label", "Package id 0\n")
    write(facts, "sys/class/hwmon/hwmon0/temp1_input", "61000\n")
    throttled, notes = bench(active, facts)
    assert throttled == ("under-voltage",)
    assert "coretemp Package id 0 61 to 61" in notes
