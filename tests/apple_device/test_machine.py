"""Which Mac may run what, and what figures of it are called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.apple_device.mac import Mac, write_facts


def refused(mac: Mac, tmp_path: Path, macos: str = "15.4.1", **changes: str) -> str:
    mac.facts = write_facts(tmp_path / "facts", macos, **changes)
    done = mac.run()
    assert done.code == 5
    assert not mac.output.exists()
    return " ".join(done.stderr.split())


@pytest.mark.skipif(sys.platform == "darwin", reason="this is a Mac")
def test_a_machine_that_is_not_a_mac_is_refused(mac: Mac) -> None:
    mac.facts = None
    done = mac.run()
    assert done.code == 5
    assert "This is not a Mac" in done.stderr


def test_intel_old_systems_and_rosetta_are_refused(mac: Mac, tmp_path: Path) -> None:
    intel = refused(mac, tmp_path, machdep__cpu__brand_string="Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz", hw__optional__arm64="0")
    assert "no Apple silicon" in intel
    assert "i7-9750H" in intel
    # M4 needs 15.1; what no profile names needs what the package needs.
    assert "needs macOS 15.1 or later" in refused(mac, tmp_path, "15.0.1")
    assert "needs macOS 15.0 or later" in refused(mac, tmp_path, "14.7", machdep__cpu__brand_string="Apple M9")
    assert "Rosetta" in refused(mac, tmp_path, sysctl__proc_translated="1")


def look(monkeypatch: pytest.MonkeyPatch, folder: Path, **changes: str) -> Any:
    from edgec_mac import machine

    monkeypatch.setenv(machine.VARIABLE, str(write_facts(folder, **changes)))
    return machine.look()


def profiles() -> list[Any]:
    from edgec_mac.machine import Profile

    from edgec.backends.profiles import list_profiles

    return [
        Profile(each.name, each.title, each.examples, each.apple.minimum_os.get("macos"), each.apple.compute_units)
        for each in list_profiles()
        if each.family == "apple"
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
def test_a_chip_is_known_by_its_name(brand: str, name: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from edgec_mac.machine import profile_of

    found = profile_of(look(monkeypatch, tmp_path, machdep__cpu__brand_string=brand), profiles())
    assert (found.name if found else None) == name


def test_a_virtual_machine_is_no_target(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from edgec_mac.machine import profile_of

    virtual = look(monkeypatch, tmp_path, machdep__cpu__brand_string="Apple M1 (Virtual)", kern__hv_vmm_present="1")
    assert virtual.virtual
    assert profile_of(virtual, profiles()) is None


def test_the_evidence_of_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The check can pass, too: on a real Mac, whose coremltools is Apple's."""
    from dataclasses import replace

    from edgec_mac.machine import doubts, profile_of
    from edgec_onboard.measurements import grade

    pretended = look(monkeypatch, tmp_path)
    real = replace(pretended, real=True)
    apple, stand_in = "/site-packages/coremltools/libcoremlpython.so", "/standin/coremltools/libcoremlpython.py"
    m4 = next(each for each in profiles() if each.name == "apple-m4")
    assert profile_of(real, profiles()) == m4
    assert grade(doubts(real, apple), is_target=True) == "measured on target"
    assert grade(doubts(real, apple), is_target=False) == "measured on host"
    assert grade(doubts(pretended, apple), is_target=True) == grade(doubts(real, stand_in), is_target=True) == "simulated on host"
