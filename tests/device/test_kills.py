"""SIGKILL at any instant, and two runs at once."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tests.device.robot import Robot, check_whole, finish, write_bundle
from tests.support.processes import running

KILLS = int(os.environ.get("EDGEC_DEVICE_KILLS", "20"))
ROUND = 5
"""Kills of one robot until a run is left alone."""


def test_killed_at_random_moments(robot: Robot, tmp_path: Path) -> None:
    """An engine for another TensorRT is active. After each kill `current` points to it or to a verified one of the new TensorRT;
    once a run is left alone it finishes.

    Two robots at a time; one has a single variant, so that its kills are closer together.
    """
    robots = [replace(robot, root=tmp_path / name) for name in ("one", "other")]
    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(_kill, robots, [("--variant", "int8"), ()]))
    killed, finished = (sum(each) for each in zip(*counts, strict=True))
    assert killed + finished == KILLS // 2 * 2
    assert killed > KILLS / 2, "most kills hit a run that was at work"


def _kill(robot: Robot, asked: tuple[str, ...]) -> tuple[int, int]:
    """Half of the kills, on one robot: how many hit, and how many came too late."""
    began = time.monotonic()
    assert robot.run("run-all", *asked, STANDIN_TENSORRT="10.15.0").code == 0
    whole = time.monotonic() - began
    chance = random.Random(len(asked))
    process = None
    killed = finished = 0
    for number in range(KILLS // 2):
        if process is None or process.returncode == 0:
            # From the beginning, beside an engine that is active.
            shutil.rmtree(robot.home / "releases")
            for path in (robot.home / "engines").iterdir():
                if path.name != robot.current:
                    shutil.rmtree(path)
        version = f"10.{3 + number // ROUND}.0"
        active = robot.current
        process = robot.start("run-all", *asked, STANDIN_TENSORRT=version)
        began = time.monotonic()
        try:
            process.communicate(timeout=chance.uniform(0, 0.7 * whole))
            whole = min(whole, time.monotonic() - began)  # the machine is less busy than at first
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        killed += process.returncode == -signal.SIGKILL
        finished += process.returncode == 0
        assert robot.current is not None
        assert robot.current == active or robot.record(robot.current, "engine")["tensorrt"] == version
        check_whole(robot)
        if number % ROUND == ROUND - 1:
            assert robot.run("run-all", *asked, STANDIN_TENSORRT=version).code == 0
            assert robot.record(robot.current, "engine")["tensorrt"] == version
            check_whole(robot)
            assert _remains(robot) == []
    return killed, finished


def test_killed_while_activating(robot: Robot) -> None:
    """Back and forth between two verified engines: the link is one or the other, and `rollback` finds its way."""
    robot.run("run-all")
    engines = {str(robot.current)}
    robot.run("activate", "--variant", "fp16")
    engines.add(str(robot.current))
    chance = random.Random(5)
    began = time.monotonic()
    robot.run("activate", "--variant", "int8")
    whole = time.monotonic() - began
    for number in range(8):
        before = robot.current
        process = robot.start("activate", "--variant", ("fp16", "int8")[number % 2])
        time.sleep(chance.uniform(0.5 * whole, whole))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert robot.current in engines
        check_whole(robot)
        after = robot.current
        if after != before:
            assert robot.run("rollback").code == 0
            assert robot.current == before
            robot.run("activate", "--variant", ("fp16", "int8")[number % 2])


def test_a_killed_build_leaves_no_builder_behind(robot: Robot) -> None:
    robot.run("install")
    process = robot.start("build", STANDIN_BUILDING="20")
    deadline = time.monotonic() + 20
    while not (builders := _builders(robot)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert builders
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 5
    while _builders(robot) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _builders(robot) == []
    assert robot.run("build").code == 0
    check_whole(robot)
    assert _remains(robot) == []


def test_two_at_once(robot: Robot) -> None:
    first, second = (robot.start("run-all", "--json", STANDIN_BUILDING="0.4") for _ in range(2))
    results = [finish(first), finish(second)]
    assert [result.code for result in results] == [0, 0]
    built = [len(result.of("done", step="build", result="built")) for result in results]
    assert sorted(built) == [0, 2], "one built, the other found everything there"
    waited = [result for result in results if result.of("progress", step="lock")]
    assert len(waited) == 1
    check_whole(robot)


def test_two_at_once_without_waiting(robot: Robot) -> None:
    robot.run("install")
    first = robot.start("build", STANDIN_BUILDING="5")
    deadline = time.monotonic() + 20
    while not _builders(robot) and time.monotonic() < deadline:
        time.sleep(0.05)
    second = robot.run("build", "--no-wait")
    assert second.code == 15
    assert str(first.pid) in " ".join(second.error["evidence"])
    assert robot.run("status").code == 0
    first.terminate()
    first.communicate()


def test_a_truncated_history_does_not_count(robot: Robot) -> None:
    robot.run("run-all")
    (robot.home / "history.json").write_text('{"activations": [')
    assert robot.run("status").code == 0
    assert robot.run("rollback").code == 14
    assert robot.run("activate", "--variant", "fp16").code == 0
    assert len(json.loads((robot.home / "history.json").read_text())["activations"]) == 1


def test_a_new_bundle_beside_an_old_one(robot: Robot, tmp_path: Path) -> None:
    robot.run("run-all")
    robot.bundle = write_bundle(tmp_path / "next.edgec", build_key="cd" * 32)
    done = robot.run("run-all")
    assert done.code == 0
    # The graphs are the same files: so are their engines, and what they were found to compute.
    assert {event["result"] for event in done.of("done", step="build")} == {"unchanged"}
    assert len(list((robot.home / "releases").iterdir())) == 2


def _remains(robot: Robot) -> list[Path]:
    return list(robot.home.rglob(".*"))


def _builders(robot: Robot) -> list[str]:
    return running("tests/device/trtexec", "--saveEngine", str(robot.root))
