"""update, health, commit and undo, as a tool calls them that updates whole systems; and what is left of them after SIGKILL."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("model_signing", reason="edgec[bundle] is not installed")

from edgec.artefact.golden import EXPECTED_FLOAT32
from tests.device.releases import Key, as_file, built_again, list_again, signed
from tests.device.robot import Robot, check_whole

KILLS = 6


def run(robot: Robot, command: str) -> int:
    """A command about what is installed; returns its exit code."""
    return robot.run_installed(command).code


@pytest.fixture(scope="session")
def newer(bundle: Path, key: Key, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Release 1.5.0 of another build, as one file. Not to be changed."""
    return as_file(signed(bundle, tmp_path_factory.mktemp("newer") / "small", key, "1.5.0", change=built_again))


def test_an_update_that_is_committed_stays(running: Robot, newer: Path) -> None:
    before = running.current
    assert replace(running, bundle=newer).run("update").code == 0
    assert running.current != before
    assert run(running, "health") == 0
    assert (running.root / "update.json").exists()
    assert run(running, "commit") == 0
    assert not (running.root / "update.json").exists()
    after = running.current
    assert run(running, "undo") == 0, "there is nothing to undo"
    assert run(running, "commit") == 0
    assert running.current == after
    check_whole(running)


def test_an_update_is_undone_as_often_as_one_likes(running: Robot, newer: Path) -> None:
    before, history = running.current, (running.home / "history.json").read_bytes()
    updating = replace(running, bundle=newer)
    for _ in range(2):
        assert updating.run("update").code == 0
        assert updating.run("update").code == 0, "as after a power cut"
        assert running.current != before
        assert run(running, "undo") == 0
        assert run(running, "undo") == 0
        assert running.current == before
        assert run(running, "health") == 0
    assert (running.home / "history.json").read_bytes() != history
    assert run(running, "status") == 0


def test_the_first_update_is_undone_to_nothing(robot: Robot, file: Path, key: Key) -> None:
    robot = replace(robot, bundle=file)
    assert robot.run("update", "--trust", key.public).code == 0
    home = robot.root / "small-jetson-64x96"
    assert (home / "current").is_symlink()
    assert run(robot, "undo") == 0
    assert not (home / "current").is_symlink()
    assert run(robot, "undo") == 0
    assert run(robot, "health") == run(robot, "commit") == 14


def test_a_release_with_the_same_engine_is_undone(running: Robot, bundle: Path, key: Key, tmp_path: Path) -> None:
    def release() -> object:
        return running.run_installed("status").of("status")[0]["current"]["release"]["version"]

    engine = running.current
    same = replace(running, bundle=signed(bundle, tmp_path / "same", key, "1.4.1"))
    assert same.run("update").code == 0
    assert (running.current, release()) == (engine, "1.4.1")
    assert run(running, "undo") == 0
    assert (running.current, release()) == (engine, "1.4.0")


def other_golden_features(folder: Path) -> None:
    built_again(folder)
    path = folder / EXPECTED_FLOAT32
    with np.load(path) as archive:
        arrays = {name: np.roll(values, 7, axis=-1) for name, values in archive.items()}
    np.savez(path, **arrays)
    list_again(folder)


def test_an_engine_that_computes_something_else_is_never_active(running: Robot, bundle: Path, key: Key, tmp_path: Path) -> None:
    before = running.current
    planted = replace(running, bundle=signed(bundle, tmp_path / "planted", key, "1.5.0", change=other_golden_features))
    assert planted.run("update").code == 9
    assert running.current == before
    assert run(running, "undo") == 0
    assert running.current == before
    assert run(running, "health") == 0


def test_an_engine_that_rots_is_not_healthy(running: Robot, newer: Path) -> None:
    before = running.current
    assert replace(running, bundle=newer).run("update").code == 0
    plan = running.home / "current" / "engine.plan"
    plan.write_bytes(plan.read_bytes()[:-1])
    assert run(running, "health") == run(running, "commit") == 8
    assert run(running, "undo") == 0
    assert running.current == before


def test_a_way_back_that_rots_is_not_taken(running: Robot, newer: Path) -> None:
    before = running.home / "engines" / str(running.current) / "engine.plan"
    assert replace(running, bundle=newer).run("update").code == 0
    after = running.current
    before.write_bytes(before.read_bytes()[:-1])
    assert run(running, "undo") == 14
    assert running.current == after
    assert run(running, "health") == 0
    record = running.root / "update.json"
    record.write_bytes(record.read_bytes().replace(b"before", b"befora"))
    assert run(running, "undo") == 8


def test_one_update_at_a_time(running: Robot, bundle: Path, newer: Path, key: Key, tmp_path: Path) -> None:
    from tests.support import forging

    def rename(folder: Path) -> None:
        forging.edit(folder / "device" / "bundle.json", lambda document: document.update(name="gripper"))

    other = signed(bundle, tmp_path / "other", key, name="gripper", change=rename)
    assert replace(running, bundle=newer).run("update").code == 0
    refused = replace(running, bundle=other).run("update")
    assert refused.code == 2
    assert "small-jetson-64x96" in str(refused.error["evidence"])
    assert run(running, "commit") == 0
    assert replace(running, bundle=other).run("update").code == 0
    assert run(running, "status") == 2, "two are installed"


def test_killed_at_any_moment(running: Robot, newer: Path) -> None:
    """The old or the new engine is active, and whole; `undo` gives the old one, the same update again the new one."""
    before, updating, chance = running.current, replace(running, bundle=newer), random.Random(4)
    saved = running.root.with_name("saved")
    shutil.copytree(running.root, saved, symlinks=True)
    began = time.monotonic()
    assert updating.run("update").code == 0
    whole, after = time.monotonic() - began, running.current
    killed = 0
    for number in range(KILLS):
        shutil.rmtree(running.root)
        shutil.copytree(saved, running.root, symlinks=True)
        process = updating.start("update")
        try:
            process.communicate(timeout=whole * chance.uniform(0.1, 0.9))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += 1
        assert running.current in (before, after)
        check_whole(running)
        if number % 2:
            assert updating.run("update").code == 0
            assert running.current == after
        assert run(running, "undo") == 0
        assert running.current == before
        assert run(running, "health") == 0
    assert killed
