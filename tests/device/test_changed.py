"""An engine, or what it was judged by, that changes after its verification is not trusted by any command."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.device.robot import Robot, check_whole


def reseal(path: Path, **changes: Any) -> None:
    """As somebody who knows how records are sealed would change one."""
    record = json.loads(path.read_text()) | changes
    record.pop("record_sha256")
    record["record_sha256"] = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(record))


def folder(robot: Robot) -> Path:
    assert robot.current is not None
    return robot.home / "engines" / robot.current


def flipped(robot: Robot) -> None:
    plan = folder(robot) / "engine.plan"
    content = bytearray(plan.read_bytes())
    content[len(content) // 2] ^= 1
    plan.write_bytes(content)


def grown(robot: Robot) -> None:
    with (folder(robot) / "engine.plan").open("ab") as file:
        file.write(b"\0")


def consistent(robot: Robot) -> None:
    """All records beside it say the new hash."""
    grown(robot)
    sha256 = hashlib.sha256((folder(robot) / "engine.plan").read_bytes()).hexdigest()
    reseal(folder(robot) / "engine.json", sha256=sha256)
    for name in ("verify", "bench"):
        reseal(folder(robot) / f"{name}.json", engine_sha256=sha256)


def link_to_the_plan(robot: Robot) -> None:
    plan = folder(robot) / "engine.plan"
    plan.rename(robot.home / "elsewhere.plan")
    plan.symlink_to(robot.home / "elsewhere.plan")


def gone(robot: Robot) -> None:
    (folder(robot) / "engine.plan").unlink()


def other_directory(robot: Robot) -> None:
    """`current` leads to a folder of the same name, somewhere else."""
    there = robot.root / "evil" / str(robot.current)
    shutil.copytree(folder(robot), there)
    (robot.home / "current").unlink()
    (robot.home / "current").symlink_to(there)


def no_link(robot: Robot) -> None:
    there = folder(robot)
    (robot.home / "current").unlink()
    shutil.copytree(there, robot.home / "current")


def facts(robot: Robot) -> None:
    path = folder(robot) / "engine.json"
    path.write_text(path.read_text().replace("10.3.0", "10.3.1"))


def graph(robot: Robot) -> None:
    (release,) = (robot.home / "releases").iterdir()
    with (release / "model" / f"{folder(robot).name.split('-')[0]}.onnx").open("ab") as file:
        file.write(b"\0")


def golden(robot: Robot) -> None:
    (release,) = (robot.home / "releases").iterdir()
    with (release / "golden" / "frames.npz").open("ab") as file:
        file.write(b"\0")


def document(robot: Robot) -> None:
    (release,) = (robot.home / "releases").iterdir()
    path = release / "device" / "bundle.json"
    path.write_text(path.read_text().replace('"build_key"', '"added": 1, "build_key"', 1))


CHANGES = [flipped, grown, consistent, link_to_the_plan, gone, other_directory, no_link, facts, graph, golden, document]
QUICK = ("--seconds", "0.05", "--iterations", "20")


@pytest.fixture
def active(robot: Robot, lived_in_now: Path) -> Robot:
    shutil.copytree(lived_in_now, robot.root, symlinks=True)
    return robot


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_changes_are_reported_refused_and_repaired(active: Robot, change: Callable[[Robot], None]) -> None:
    (before,) = active.run("status").of("status")
    assert (before["state"], before["evidence"], before["report"]) == ("verified", [], "as it was written")
    change(active)
    (status,) = active.run("status").of("status")
    assert status["state"] == "changed"
    assert status["evidence"]
    assert "CHANGED since it was verified" in status["text"]
    assert "To do" in status["text"]
    done = active.run("bench")
    assert done.code == 8, done
    error = done.error
    assert "changed since it was verified" in error["what"]
    assert error["kind"] == "EngineChanged"
    assert error["remedy"]
    if change in (flipped, grown, consistent):
        found = hashlib.sha256((folder(active) / "engine.plan").read_bytes()).hexdigest()
        assert found in " ".join(error["evidence"])
        assert active_entry(active)["sha256"] in " ".join(error["evidence"])
    if change is no_link:
        shutil.rmtree(active.home / "current")
    again = active.run("run-all")
    assert again.code == 0, again
    check_whole(active)
    (after,) = active.run("status").of("status")
    assert after["state"] == "verified", after
    assert active.run("bench", *QUICK).code == 0


def active_entry(robot: Robot) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads((robot.home / "history.json").read_text())["activations"][-1]
    return entry


@pytest.mark.parametrize("name", ["verify", "bench", "engine"])
def test_an_edited_record_does_not_count(active: Robot, name: str) -> None:
    """A verdict, or a figure, that was changed by hand or by a disk."""
    path = folder(active) / f"{name}.json"
    record = json.loads(path.read_text())
    key = {"verify": "frames", "bench": "iterations", "engine": "size_bytes"}[name]
    path.write_text(json.dumps(record | {key: record[key] + 1}))
    (status,) = active.run("status").of("status")
    assert status["state"] == {"verify": "unknown", "bench": "verified", "engine": "changed"}[name]
    done = active.run("run-all")
    assert done.code == 0
    assert [event["result"] for event in done.of("done") if event["result"] in ("passed", "measured", "built")]
    assert active.run("status").of("status")[0]["state"] == "verified"


def test_a_failed_verdict_cannot_be_edited(robot: Robot) -> None:
    assert robot.run("run-all", faults="garbage@int8").code == 0
    (path,) = (robot.home / "engines").glob("int8-*/verify.json")
    path.write_text(path.read_text().replace('"passed": false', '"passed": true'))
    assert robot.run("activate", "--variant", "int8").code == 14
    assert robot.current is not None
    assert robot.current.startswith("fp16-")


def test_activate_checks_the_engine_s_file(active: Robot) -> None:
    (plan,) = (active.home / "engines").glob("fp16-*/engine.plan")
    with plan.open("ab") as file:
        file.write(b"x")
    before = active.current
    done = active.run("activate", "--variant", "fp16")
    assert done.code == 8
    assert "changed since it was verified" in done.error["what"]
    assert active.current == before


def test_rollback_reports_a_changed_engine_and_refuses_another(active: Robot) -> None:
    first = active.current
    assert active.run("activate", "--variant", "fp16").code == 0
    second = active.current
    grown(active)
    done = active.run("rollback")
    assert done.code == 0, "from an engine that changed there is a way back"
    assert active.current == first
    assert "has changed since it was verified" in " ".join(event["line"] for event in done.of("log"))
    assert active.run("run-all", "--variant", "fp16").code == 0
    assert active.current == second
    with (active.home / "engines" / str(first) / "engine.plan").open("ab") as file:
        file.write(b"x")
    (status,) = active.run("status").of("status")
    assert (status["state"], status["previous_state"]) == ("verified", "changed")
    refused = active.run("rollback")
    assert refused.code == 14
    assert "it has changed since it was verified" in " ".join(refused.error["evidence"])
    assert active.current == second


def test_an_engine_without_a_record_is_unknown(active: Robot) -> None:
    (active.home / "history.json").unlink()
    (status,) = active.run("status").of("status")
    assert status["state"] == "unknown"
    assert active.run("run-all").code == 0
    assert active.run("status").of("status")[0]["state"] == "verified"


def test_an_older_program_s_history_is_read(active: Robot) -> None:
    path = active.home / "history.json"
    history = json.loads(path.read_text())
    old = [{key: value for key, value in each.items() if key != "sealed"} for each in history["activations"]]
    path.write_text(json.dumps({"activations": old}))
    for name in ("engine", "verify", "bench"):
        record = json.loads((folder(active) / f"{name}.json").read_text())
        record.pop("record_sha256")
        (folder(active) / f"{name}.json").write_text(json.dumps(record))
    assert active.run("status").of("status")[0]["state"] == "verified"
    assert active.run("bench", *QUICK).code == 0
    grown(active)
    assert active.run("status").of("status")[0]["state"] == "changed"


def test_measurements_that_changed(active: Robot) -> None:
    path = active.measurements
    path.write_text(path.read_text().replace("fastest", "slowest"))
    (status,) = active.run("status").of("status")
    assert (status["state"], status["report"]) == ("verified", "changed")


@pytest.mark.parametrize(
    "activations",
    ["x", [3, None, {"engine": 5}], [{"engine": "../../etc", "variant": "x", "time": "", "reason": ""}], {"a": 1}],
    ids=str,
)
def test_an_invalid_history(active: Robot, activations: Any) -> None:
    (active.home / "history.json").write_text(json.dumps({"activations": activations}))
    assert active.run("status").of("status")[0]["state"] == "unknown"
    assert active.run("rollback").code == 14
    assert active.run("run-all").code == 0
