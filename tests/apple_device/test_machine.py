"""Which Mac may run what, and what figures of it are called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.apple_device.mac import write_command, write_facts
from tests.device.robot import Robot


def refused(mac: Robot, tmp_path: Path, macos: str = "15.4.1", **changes: str) -> str:
    mac.facts = write_facts(tmp_path / "facts", macos, **changes)
    done = mac.run("run-all")
    assert done.code == 5
    assert not mac.home.exists()
    return " ".join([done.error["what"], *done.error["evidence"]])


@pytest.mark.skipif(sys.platform == "darwin", reason="this is a Mac")
def test_a_machine_that_is_not_a_mac_is_refused(mac: Robot) -> None:
    mac.facts = Path("/")
    done = mac.run("run-all")
    assert done.code == 5
    assert "This is not a Mac" in done.error["what"]


def test_intel_old_systems_and_rosetta_are_refused(mac: Robot, tmp_path: Path) -> None:
    intel = refused(mac, tmp_path, machdep__cpu__brand_string="Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz", hw__optional__arm64="0")
    assert "no Apple silicon" in intel
    assert "i7-9750H" in intel
    # M4 needs 15.1; what no profile names needs what the package needs.
    assert "needs macOS 15.1 or later" in refused(mac, tmp_path, "15.0.1")
    assert "needs macOS 15.0 or later" in refused(mac, tmp_path, "14.7", machdep__cpu__brand_string="Apple M9")
    assert "Rosetta" in refused(mac, tmp_path, sysctl__proc_translated="1")


def look(folder: Path, **changes: str) -> Any:
    from edgec_device.system import System
    from edgec_mac import machine

    return machine.look(System(str(write_facts(folder, **changes))))


class _Bundle:
    """The part of a bundle that a chip's name is looked up in: every profile of the family, phones' too."""

    @property
    def boards(self) -> list[Any]:
        from edgec_device.bundle import BoardProfile

        from edgec.backends.profiles import list_profiles

        chips = [each for each in list_profiles() if each.family == "apple"]
        return [
            BoardProfile(each.name, each.title, examples=each.examples, compute_units=each.apple.compute_units) for each in chips
        ]


@pytest.mark.parametrize(
    ("brand", "name"),
    [
        ("Apple M1", "apple-m1"),
        ("Apple M1 Ultra", "apple-m1"),
        ("Apple M4 Pro", "apple-m4"),
        ("Apple M5", "apple-m5"),
        ("Apple A18 Pro", "apple-a18"),
        ("Apple M1 (Virtual)", "apple-m1"),
        ("Apple M10", None),
        ("Apple processor", None),
    ],
)
def test_a_chip_is_known_by_its_name(brand: str, name: str | None, tmp_path: Path) -> None:
    from edgec_mac.machine import profile_of

    profile, foreign = profile_of(look(tmp_path, machdep__cpu__brand_string=brand), _Bundle())
    assert profile.profile == (name or "here")
    assert bool(foreign) == (name is None)


def test_a_virtual_machine_is_no_target(tmp_path: Path) -> None:
    from edgec_mac.machine import profile_of

    virtual = look(tmp_path, machdep__cpu__brand_string="Apple M1 (Virtual)", kern__hv_vmm_present="1")
    assert virtual.virtual
    profile, foreign = profile_of(virtual, _Bundle())
    assert profile.profile == "here"
    assert "no Neural Engine" in foreign


def test_the_evidence_of_figures(artefact: Path, tmp_path: Path) -> None:
    """The check can pass, too: on a real Mac, whose coremltools is Apple's."""
    from edgec_device.bundle import read_bundle
    from edgec_device.output import Output
    from edgec_device.session import Options, Session
    from edgec_device.system import System
    from edgec_mac.machine import Mac

    class Tool:
        def __init__(self, *doubts: str) -> None:
            self.doubts = doubts

    def grade(system: System, foreign: str = "", *doubts: str) -> str:
        session = Session(Options(tmp_path), read_bundle(artefact), system, Output(as_json=True), Mac())
        session.tool, session.foreign = Tool(*doubts), foreign
        return session.grade(session.doubts())

    assert grade(System("/")) == "measured on target"
    assert grade(System("/"), "it is a virtual machine") == "measured on host"
    assert grade(System(str(tmp_path))) == grade(System("/"), "", "it is a stand-in") == "simulated on host"


def test_what_macos_says_of_power_and_memory(facts: Path, tmp_path: Path) -> None:
    from edgec_device import sensors
    from edgec_device.system import System
    from edgec_device.throttling import reasons, throttling

    system = System(str(facts))
    assert sensors.power_mode(system) == "AC Power"
    assert sensors.memory_available(system) == 25769803776 // 2
    assert throttling(system).states == {}
    assert sensors.caveats("AC Power", {}, [], on_cpu=False) == []
    cases = "'-g batt') echo \"Now drawing from 'Battery Power'\";;\n-g) echo ' lowpowermode         1';;\n'-g therm') "
    limits = "CPU_Scheduler_Limit \t= 100\n\tCPU_Available_CPUs \t= 8\n\tCPU_Speed_Limit \t= 70"
    write_command(tmp_path / "usr/bin/pmset", f"{cases}echo '{limits}';;")
    hot = System(str(tmp_path))
    mode = sensors.power_mode(hot)
    assert mode == "Battery Power, low power mode"
    assert sensors.caveats(mode, {}, [], on_cpu=False) == [
        "The Mac ran on Battery Power, low power mode, which may slow it down."
    ]
    assert reasons(throttling(hot), [], throttling(hot)) == ["CPU speed limit, percent below its most: state 30"]
    quiet = "Note: No thermal warning level has been recorded\nNote: No performance warning level has been recorded"
    write_command(tmp_path / "usr/bin/pmset", f"'-g therm') echo '{quiet}';;")
    assert throttling(hot).states == {}
