"""Every way in which a board, a bundle or trtexec can be wrong ends in one clear refusal, and the engine before stays active."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.device.robot import SECONDS, Robot, check_whole, write_bundle, write_facts
from tests.support.processes import running


@pytest.fixture
def active(robot: Robot, lived_in: Path) -> str:
    """An engine that is active from before."""
    shutil.copytree(lived_in, robot.root, symlinks=True)
    assert robot.current is not None
    return robot.current


@pytest.mark.parametrize(
    ("faults", "code", "evidence"),
    [
        ("garbage", 9, "must be at least"),
        ("constant", 9, "is constant"),
        ("blind", 9, "ignores its input"),
        ("nan", 9, "NaN or infinite"),
        ("infinite", 9, "NaN or infinite"),
        ("shape", 9, "has shape"),
        ("missing", 9, "there is no output"),
        ("torn", 10, "cannot be read"),
        ("crash", 10, "SIGSEGV"),
        ("killed", 10, "memory"),
        ("out-of-memory", 10, "memory"),
        ("no-engine", 10, "wrote no engine"),
        ("crash-run", 10, "SIGSEGV"),
        ("no-times", 10, "make no sense"),
        ("transfers", 10, "Data transfers: Disabled"),
        ("no-gpu", 12, "no GPU"),
        ("nonsense", 12, "something else entirely"),
    ],
)
def test_a_fault_of_trtexec(robot: Robot, active: str, faults: str, code: int, evidence: str) -> None:
    done = robot.run("run-all", "--variant", "int8", faults=faults)
    assert done.code == code, done
    error = done.error
    assert evidence in " ".join([error["what"], *error["evidence"]])
    assert error["remedy"]
    assert robot.current == active
    check_whole(robot)
    if faults in ("garbage", "crash", "killed", "no-times"):
        # Once trtexec is sound again, the same command finishes.
        after = robot.run("run-all", "--variant", "int8", "--again")
        assert after.code == 0, after
        assert robot.current != active


@pytest.mark.parametrize(("fault", "step"), [("hang", "build"), ("hang-run", "verify")])
def test_a_hang_is_ended(robot: Robot, active: str, fault: str, step: str) -> None:
    done = robot.run("run-all", "--variant", "int8", "--patience", "1", faults=fault)
    assert done.code == 13
    assert f"hung in {step}" in done.error["what"]
    assert robot.current == active
    assert _standins() == []


def test_one_variant_s_failure_does_not_stop_the_others(robot: Robot) -> None:
    done = robot.run("run-all", faults="garbage@int8,crash@fp16")
    assert done.code == 0
    assert {event["variant"]: event["exit_code"] for event in done.of("problem")} == {"int8": 9, "fp16": 10}
    assert robot.current is not None
    assert robot.current.startswith("fp32-")
    assert [bool(candidate.problem) for candidate in robot.report().candidates] == [True, True, False]


def test_a_failed_variant_cannot_be_activated_by_name(robot: Robot) -> None:
    robot.run("run-all", faults="garbage@int8")
    done = robot.run("activate", "--variant", "int8")
    assert done.code == 14
    assert robot.current is not None
    assert robot.current.startswith("fp16-")
    assert robot.run("activate", "--variant", "int4").code == 2


def test_a_slow_build_reports_progress(robot: Robot) -> None:
    robot.run("install")
    done = robot.run("build", "--variant", "int8", faults="slow")
    assert done.code == 0
    progress = done.of("progress", step="build")
    assert len(progress) >= 3
    assert progress[-1]["seconds"] > progress[0]["seconds"]
    assert "tactics timed, /blocks" in progress[-1]["detail"]


def test_a_wrong_board(robot: Robot, tmp_path: Path) -> None:
    robot.facts = write_facts(tmp_path / "thor", ("nvidia,p3834-0008", "nvidia,tegra264"))
    done = robot.run("run-all")
    assert done.code == 5
    assert done.error["what"].startswith("This bundle was built for Jetson Orin Nano; this is NVIDIA Jetson")
    assert not robot.home.exists()
    robot.facts = tmp_path / "nothing"
    robot.facts.mkdir()
    assert "a machine without a device tree" in robot.run("preflight").error["what"]


def test_a_gpu_that_is_not_the_module_s(robot: Robot) -> None:
    done = robot.run("run-all", STANDIN_COMPUTE="8.6")
    assert done.code == 5
    assert "8.7 expected, 8.6 found" in " ".join(done.error["evidence"])


@pytest.mark.parametrize("version", ["8.5.2", "12.0.0"])
def test_a_tensorrt_that_the_bundle_is_not_for(robot: Robot, version: str) -> None:
    done = robot.run("run-all", STANDIN_TENSORRT=version)
    assert done.code == 12
    assert version in done.error["what"]
    assert "8.6 or newer, below 12" in " ".join(done.error["evidence"])


def test_no_trtexec(robot: Robot, tmp_path: Path) -> None:
    robot.facts = write_facts(tmp_path / "facts")
    (robot.facts / "usr/src/tensorrt/bin/trtexec").unlink()
    assert robot.run("run-all").code == 12
    plain = tmp_path / "trtexec"
    plain.write_bytes(b"\x7fELF of another machine")
    plain.chmod(0o755)
    done = robot.run("preflight", "--trtexec", plain)
    assert done.code == 12
    assert "cannot be started" in done.error["what"]


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "link"])
def test_a_damaged_bundle(robot: Robot, own_bundle: Path, damage: str) -> None:
    robot.bundle = own_bundle
    path = own_bundle / "model" / "int8.onnx"
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "flipped":
        path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    elif damage == "link":
        (own_bundle / "model" / "other.onnx").write_bytes(content)
        path.symlink_to("other.onnx")
    for command in ("preflight", "run-all"):
        done = robot.run(command)
        assert done.code == 8
        assert "model/int8.onnx" in " ".join(done.error["evidence"])
    assert robot.run("install").code == 8
    assert not list((robot.home / "releases").glob("*"))


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": 2},
        {"name": "../elsewhere"},
        {"name": 3},
        {"build_key": "short"},
        {"boards": []},
        {"boards": "all"},
        {"variants": [{"name": "x", "path": "/etc/passwd", "precision": "int8", "tensorrt": {"min": "8", "below": "9"}}]},
        {"files": [{"path": "../../etc/passwd", "sha256": "0" * 64, "size_bytes": 1}]},
        {"gate": {"cls_cosine_mean": None}},
        {"gate": {"cls_cosine_mean": float("nan"), "patch_cosine_mean": 0.9, "patch_cosine_p01": 0.9}},
        {"golden": {"frames": "golden/frames.npz", "expected": "golden/frames.npz", "count": -1}},
        {"outputs": [{"name": "cls", "dtype": "float32", "shape": [1, 0]}]},
        {"input": {"name": "frames", "dtype": "float32", "shape": [1, 3, 64, 96]}},
        {"model": []},
    ],
    ids=str,
)
def test_an_invalid_bundle(robot: Robot, own_bundle: Path, changes: dict[str, Any]) -> None:
    robot.bundle = own_bundle
    path = own_bundle / "device" / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    done = robot.run("run-all")
    assert done.code == 8
    assert not list(robot.root.glob("*")) if robot.root.exists() else True


def test_invalid_golden_files(robot: Robot, tmp_path: Path) -> None:
    golden = {"frames": "golden/expected_float32.npz", "expected": "golden/frames.npz", "count": 2}
    robot.bundle = write_bundle(tmp_path / "odd.edgec", golden=golden)
    done = robot.run("run-all")
    assert done.code == 8
    assert "does not fit the bundle" in done.error["what"]


def test_a_root_that_cannot_be_written(robot: Robot, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    robot.root = tmp_path / "file" / "root"
    for command in ("preflight", "run-all"):
        done = robot.run(command)
        assert done.code == 1
        assert done.error["remedy"]


def test_a_disk_that_fills_while_building(robot: Robot, small_disk: Path) -> None:
    robot.root = small_disk / "root"
    assert robot.run("run-all", STANDIN_TENSORRT="10.13.3").code == 0
    active = robot.current
    done = robot.run("run-all", faults="disk-full@fp16")
    assert done.code == 11, done
    assert "no room left" in done.error["what"]
    assert robot.current == active
    check_whole(robot)
    assert shutil.disk_usage(small_disk).free > 60e6, "the half engine is gone"
    assert robot.run("run-all").code == 0
    assert robot.current != active


def test_a_disk_that_is_full(robot: Robot, small_disk: Path) -> None:
    robot.root = small_disk / "root"
    (small_disk / "filler").write_bytes(b"\0" * int(shutil.disk_usage(small_disk).free - 300_000))
    done = robot.run("run-all")
    assert done.code == 11
    assert "needed" in " ".join(done.error["evidence"])
    done = robot.run("install")
    assert done.code == 11
    assert list((robot.home / "releases").glob("*")) == []
    (small_disk / "filler").unlink()
    assert robot.run("run-all").code == 0


def _standins() -> list[str]:
    """Command lines of stand-ins that are still at work."""
    return running("tests/device/trtexec")


def test_nothing_is_left_running_when_it_is_interrupted(robot: Robot) -> None:
    process = robot.start("run-all", STANDIN_BUILDING="30")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("build:"):
            break
    process.terminate()
    _, error = process.communicate(timeout=SECONDS)
    assert process.returncode == 128 + 15
    assert "to continue" in error
    assert _standins() == []
    assert robot.run("run-all").code == 0


def test_a_reader_that_goes_away(robot: Robot) -> None:
    """As when the network drops in the middle of a deployment."""
    process = robot.start("run-all", "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=SECONDS) == 128 + 13
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    assert robot.run("run-all").code == 0
