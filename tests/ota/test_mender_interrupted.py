"""Updates by Mender that lose their power, their disk's room or their client: the old or the new release is active, never none,
and Mender's own recovery agrees with the board.

`python -m benchmarks ota --tool mender` does the same at a hundred moments.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from benchmarks.ota.interruptions import Updates, fill
from benchmarks.ota.mender import MenderRobot
from benchmarks.ota.mender_server import Server
from benchmarks.ota.releases import BAD, NAME, NEW, OLD
from benchmarks.ota.robot import TIMEOUT_S
from tests.ota.mender import World, is_open, whole

Moment = Callable[[MenderRobot], object]


def _home(robot: MenderRobot) -> Path:
    (link,) = robot.data.glob("edgec/*/current")
    return link.parent


MOMENTS: dict[str, Moment] = {
    "the bundle is being stored": lambda robot: list(robot.tree.glob("files/*")),
    "the update is written down": is_open,
    "the release is installed": lambda robot: len(list(_home(robot).glob("releases/[!.]*"))) == 2,
    "its engine is active": lambda robot: robot.active() == NEW,
    "ArtifactCommit is passed": lambda robot: robot.passed,
    "the way back is closed": lambda robot: robot.active() == NEW and not is_open(robot),
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS.keys())
def test_the_power_fails(world: World, tmp_path: Path, moment: Moment) -> None:
    robot = world.robot(tmp_path / "robot")
    assert robot.cut(world.file(NEW), lambda: moment(robot)), "the moment did not come"
    assert whole(robot) in (OLD, NEW)
    assert not robot.settle()
    assert whole(robot) in (OLD, NEW)


def test_its_client_is_killed_while_the_board_works_on(world: World, tmp_path: Path) -> None:
    """What it had started ends by itself; what the client does when it is started again waits for that."""
    robot = world.robot(tmp_path / "robot")
    with Server() as server:
        robot.connect(server.url)
        # The first process must not be the client: all others end with that.
        with robot.started("sh", "-c", "mender --no-syslog daemon; mender --no-syslog daemon") as running:
            first = server.deploy(world.file(NEW), f"{NAME}-{NEW}", NAME)
            assert server.wait(lambda: is_open(robot), TIMEOUT_S, 0.002)
            (client,) = (each for each in psutil.Process(running.process.pid).children(recursive=True) if each.name() == "mender")
            os.kill(client.pid, signal.SIGKILL)
            assert server.wait(lambda: first.ended, TIMEOUT_S), running.text
            assert first.ended == "failure", "Mender takes it for a restart, and goes back"
            assert whole(robot) == OLD
            again = server.deploy(world.file(NEW), f"{NAME}-{NEW}", NAME)
            assert server.wait(lambda: again.ended, TIMEOUT_S), running.text
            assert again.ended == "success"
    world.check(robot, NEW)


def test_an_update_by_hand_is_cut_off_and_done_again(world: World, tmp_path: Path) -> None:
    """People's `mender install` keeps no state of its own until it is done: the same command again is what is left to do."""
    robot = world.robot(tmp_path / "robot")
    (robot.own / "media" / "new.mender").write_bytes(world.file(NEW).read_bytes())
    with robot.started("mender", "--no-syslog", "install", "/media/new.mender"):
        until(lambda: robot.active() == NEW)
    assert whole(robot) == NEW
    assert robot.mender("commit").code == 2, "it knows of no update"
    assert is_open(robot)
    for done in (robot.take(world.file(NEW)), robot.mender("commit")):
        assert done.code == 0, done.output
    world.check(robot, NEW)


@pytest.fixture(scope="module")
def updates(world: World, tmp_path_factory: pytest.TempPathFactory) -> Updates:
    return Updates(tmp_path_factory.mktemp("mender") / "updates", world.releases, "mender", world.first)


def test_the_disk_fills_up(updates: Updates) -> None:
    with updates.robot(small=True) as robot:
        for moment in (0.2, 0.5, 0.8):
            _, problem = updates.disk_fills(robot, moment * updates.seconds)
            assert not problem, f"{moment}: {problem}"
        assert not updates.again(robot)


def test_what_was_committed_on_a_full_disk_is_not_undone_later(world: World, updates: Updates) -> None:
    """The way back could not be closed then. It is before the next update, which fails and is undone."""
    with updates.robot(small=True) as robot:
        assert isinstance(robot, MenderRobot)
        filler = robot.data / "filler"
        assert robot.take(world.file(NEW)).code == 0
        with robot.started("mender", "--no-syslog", "commit") as running:
            until(lambda: robot.passed)
            fill(filler)
            assert running.process.wait(TIMEOUT_S) == 0, running.text
        assert (whole(robot), is_open(robot), robot.artifact) == (NEW, True, f"{NAME}-{NEW}")
        assert robot.take(world.file(BAD)).code != 0
        assert (whole(robot), robot.artifact) == (NEW, f"{NAME}-{NEW}")
        filler.unlink()
        done = robot.take(world.file(BAD))
        assert "does not reproduce the golden features" in " ".join(done.output.split())
        # The bad release has the same model, which was compared with its golden frames last.
        assert robot.program("health").code == 0
        world.check(robot, NEW)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)
