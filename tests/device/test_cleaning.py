"""Old releases and engines: what goes once a new one is active, and what stays."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgec.durable import sha256_of
from tests.device.robot import Robot, check_whole

KEYS = ("b0", "b1", "b2", "b3", "b4")


@pytest.fixture(scope="module")
def builds(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five builds one after another, each with one graph, which is its own."""
    folder = tmp_path_factory.mktemp("builds")
    return [_build(bundle, folder / f"{key}.edgec", key) for key in KEYS]


def _build(bundle: Path, folder: Path, key: str) -> Path:
    shutil.copytree(bundle, folder)
    graph, said = folder / "model" / "int8.onnx", folder / "device" / "bundle.json"
    graph.write_bytes(graph.read_bytes().replace(b"int8", f"in{key}".encode()))
    document = json.loads(said.read_text())
    document["build_key"] = key * 32
    document["variants"] = [each for each in document["variants"] if each["name"] == "int8"]
    for file in document["files"]:
        file["sha256"] = sha256_of(folder / file["path"])
    said.write_text(json.dumps(document))
    return folder


def cleaned(robot: Robot, build: Path, *more: str) -> dict[str, Any]:
    """What a run with this build says that it removed."""
    done = replace(robot, bundle=build).run("run-all", *more)
    assert done.code == 0, done
    (event,) = done.of("done", step="clean")
    check_whole(robot)
    return event


def releases(robot: Robot) -> set[str]:
    return {path.name[:2] for path in (robot.home / "releases").iterdir()}


def inodes(folder: Path) -> dict[int, int]:
    """Sizes by inode."""
    files = (path.stat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {status.st_ino: status.st_size for status in files}


def test_what_stays(robot: Robot, builds: list[Path]) -> None:
    """The active build, the one before, and one more; then as many as it is told."""
    for build in builds[:3]:
        assert cleaned(robot, build)["files"] == []
    oldest = robot.release("b0" * 32)
    engine = json.loads((robot.home / "history.json").read_text())["activations"][0]["engine"]
    # What another name is left of takes its room still.
    frames = oldest / "golden" / "frames.npz"
    frames.unlink()
    frames.hardlink_to(robot.release("b1" * 32) / "golden" / "frames.npz")
    sizes = {**inodes(oldest), **inodes(robot.home / "engines" / engine)}
    event = cleaned(robot, builds[3])
    assert releases(robot) == {"b1", "b2", "b3"}
    assert event["files"] == [f"releases/{oldest.name}", f"engines/{engine}"]
    left = inodes(robot.home)
    assert event["size_bytes"] == sum(size for inode, size in sizes.items() if inode not in left)
    assert event["text"].startswith("clean: removed releases/b0b0")

    assert len(cleaned(robot, builds[4], "--keep", "0")["files"]) == 4
    assert releases(robot) == {"b3", "b4"}
    assert replace(robot, bundle=builds[4]).run("rollback").code == 0
    (gone,) = cleaned(robot, builds[3])["files"]
    assert gone.startswith("engines/"), "what was gone back from is no way back; its files need not be sent again"
    assert releases(robot) == {"b3", "b4"}
    assert cleaned(robot, builds[3], "--again")["files"] == []


def test_the_way_back_of_an_update_stays(robot: Robot, builds: list[Path]) -> None:
    cleaned(robot, builds[0], "--keep", "0")
    way_back = json.loads((robot.home / "history.json").read_text())["activations"][-1]
    update = robot.root / "update.json"
    update.write_text(json.dumps({"name": robot.home.name, "before": way_back}))
    for build in builds[1:4]:
        cleaned(robot, build, "--keep", "0")
    assert releases(robot) == {"b0", "b2", "b3"}
    assert (robot.home / "engines" / way_back["engine"] / "engine.plan").is_file()
    update.write_text("{")  # nobody can tell what it would go back to
    done = replace(robot, bundle=builds[4]).run("run-all", "--keep", "0")
    assert done.code == 0
    assert done.of("done", step="clean") == []
    assert releases(robot) == {"b0", "b2", "b3", "b4"}
    update.unlink()
    cleaned(robot, builds[4], "--keep", "0")
    assert releases(robot) == {"b3", "b4"}


def test_a_folder_that_cannot_be_removed_is_said(robot: Robot, builds: list[Path]) -> None:
    """As where another user put something into it: what was activated stays active."""
    for build in builds[:2]:
        cleaned(robot, build)
    old = robot.release("b0" * 32)
    work = old.with_name(".tmp-" + old.name)
    work.mkdir()
    # A mount point cannot be removed; a name that is too long to be renamed cannot either.
    long = robot.home / "releases" / ("c" * 252)
    long.mkdir()
    done = replace(robot, bundle=builds[2]).run("run-all", "--keep", "0")
    assert done.code == 0
    assert "old releases could not all be removed" in done.of("log", step="clean")[0]["line"]
    assert long.is_dir()
    assert robot.current is not None
