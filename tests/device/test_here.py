"""`--here`: engines for a machine that is none of the bundle's boards, and what their figures may be called."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.device.robot import Robot


@pytest.fixture
def workstation(robot: Robot, tmp_path: Path) -> Robot:
    """No device tree, no Jetson Linux; another GPU than any board's."""
    facts = tmp_path / "workstation"
    (facts / "proc").mkdir(parents=True)
    (facts / "proc" / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Some CPU 9000\n")
    (facts / "usr").symlink_to(robot.facts / "usr")
    robot.facts = facts
    robot.env = {**robot.env, "STANDIN_COMPUTE": "8.9"}
    return robot


def test_any_machine_will_do(workstation: Robot) -> None:
    assert workstation.run("run-all").code == 5
    done = workstation.run("run-all", "--here")
    assert done.code == 0, done
    assert workstation.current is not None
    assert not [event for event in done.of("log") if "JetPack" in event["line"]]
    report = workstation.report()
    assert report.host.cpu == "Orin, Some CPU 9000", "the stand-in's GPU, and this machine's CPU"
    notes = " ".join(report.notes)
    assert "Jetson" not in notes
    assert "Not measured on target: these are engines for this machine itself, Orin." in notes
    assert "compute capability 8.9" in notes
    assert workstation.record(workstation.current, "bench")["evidence"] == "simulated on host"


def test_a_jetson_keeps_its_name_and_is_no_target(robot: Robot) -> None:
    done = robot.run("run-all", "--here", "--variant", "fp16")
    assert done.code == 0, done
    report = robot.report()
    assert report.host.cpu.startswith("NVIDIA Jetson Orin Nano")
    assert not report.host_is_target


def test_gpu_and_tensorrt_must_still_fit(workstation: Robot) -> None:
    old = workstation.run("run-all", "--here", STANDIN_COMPUTE="7.0")
    assert old.code == 5
    assert "compute capability 7.5 or newer needed, 7.0 found" in " ".join(old.error["evidence"])
    new = workstation.run("run-all", "--here", STANDIN_TENSORRT="12.0.0")
    assert new.code == 12
    assert "8.6 or newer, below 12" in " ".join(new.error["evidence"])
