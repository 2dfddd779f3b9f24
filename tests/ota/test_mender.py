"""Releases through the real Mender client: what is good stays, what is not is taken back or refused."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.ota.mender import MenderRobot, public_key
from benchmarks.ota.mender_server import Server
from benchmarks.ota.releases import BAD, NAME, NEW, OLD, debians_programs
from benchmarks.ota.robot import TIMEOUT_S
from edgec.bundle.ota.packer import Payload, Wish
from edgec.bundle.ota.registry import PACKERS
from edgec.bundle.release import Naming, release_of
from edgec.onboard.container import SUFFIX as BUNDLE
from tests.ota.mender import World, cut_short, flipped, is_open, whole


@pytest.fixture
def robot(world: World, tmp_path: Path) -> MenderRobot:
    return world.robot(tmp_path / "robot")


@pytest.fixture(scope="module")
def updated(world: World, tmp_path_factory: pytest.TempPathFactory) -> MenderRobot:
    """A robot on which `NEW` was installed by hand, and is not committed. Not to be changed."""
    robot = world.robot(tmp_path_factory.mktemp("updated") / "robot")
    done = robot.take(world.file(NEW))
    assert done.code == 0, done.output
    return robot


@pytest.fixture
def uncommitted(world: World, updated: MenderRobot, tmp_path: Path) -> MenderRobot:
    robot = MenderRobot(tmp_path / "robot", world.releases)
    robot.copy_data(updated)
    return robot


def test_a_good_release_is_active_at_once(updated: MenderRobot) -> None:
    assert whole(updated) == NEW
    assert is_open(updated)
    assert updated.artifact == f"{NAME}-{OLD}", "Mender itself counts an update when it is committed"


def test_it_stays_after_the_commit_and_no_older_one_is_taken(world: World, uncommitted: MenderRobot) -> None:
    done = uncommitted.mender("commit")
    assert done.code == 0, done.output
    world.check(uncommitted, NEW)
    assert f"data-partition.{NAME}.version={NEW}" in uncommitted.mender("show-provides").output
    assert uncommitted.mender("rollback").code == 2, "there is nothing to roll back"
    world.check(uncommitted, NEW)
    refused(world, uncommitted, world.file(OLD), "exit status 20", version=NEW)


def test_it_is_taken_back_on_request(world: World, uncommitted: MenderRobot) -> None:
    done = uncommitted.mender("rollback")
    assert done.code == 0, done.output
    world.check(uncommitted, OLD)


def damage_the_engine(robot: MenderRobot) -> None:
    (path,) = robot.data.glob("edgec/*/current/model.onnx")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()  # the release has the same file
    path.write_bytes(content)


def fail_its_own_check(robot: MenderRobot) -> None:
    robot.configure("EDGEC_CHECK=false\n")


@pytest.mark.parametrize("spoil", [damage_the_engine, fail_its_own_check])
def test_what_is_unhealthy_at_the_commit_is_taken_back(
    world: World, uncommitted: MenderRobot, spoil: Callable[[MenderRobot], None]
) -> None:
    spoil(uncommitted)
    done = uncommitted.mender("commit")
    assert done.code != 0
    assert "Rolling back" in done.output
    world.check(uncommitted, OLD)


def test_a_release_that_does_not_compute_what_it_says_is_never_active(world: World, robot: MenderRobot) -> None:
    refused(world, robot, world.file(BAD), "No engine reproduces the golden features", "exit status 9")


def test_a_changed_bundle_is_refused_by_the_board(world: World, robot: MenderRobot, tmp_path: Path) -> None:
    """Wrapped again by somebody who knows Mender, on a robot whose Mender takes what is not signed."""
    changed = flipped(world.file(NEW, BUNDLE), tmp_path)
    refused(world, robot, world.wrap(changed, tmp_path / "changed.mender"), "is not as it was signed", "exit status 19")


def test_a_bundle_of_somebody_else_is_refused_by_the_board(world: World, robot: MenderRobot, tmp_path: Path) -> None:
    made = world.releases.make(NEW, tmp_path, foreign=True)
    refused(world, robot, made.path.with_suffix(".mender"), "which is not trusted", "exit status 19")


@pytest.mark.parametrize("change", [flipped, cut_short])
def test_a_damaged_file_is_refused_by_mender(
    world: World, robot: MenderRobot, tmp_path: Path, change: Callable[[Path, Path], Path]
) -> None:
    done = refused(world, robot, change(world.file(NEW), tmp_path))
    assert "edgec-cpu" not in done
    assert not list(robot.tree.parent.rglob(f"*{BUNDLE}")), "nothing is left of it"


def test_with_a_key_of_its_own_mender_takes_what_that_signed_alone(world: World, tmp_path: Path) -> None:
    robot = world.robot(tmp_path / "robot", key=world.key(foreign=True))
    refused(world, robot, world.file(NEW), "signer: verification failed")
    refused(world, robot, world.wrap(world.file(NEW, BUNDLE), tmp_path / "unsigned.mender"), "expecting signed artifact")
    shutil.copy(world.key(), robot.own / "etc/mender/key.pem")
    done = robot.take(world.file(NEW))
    assert done.code == 0, done.output


def test_a_release_for_other_devices_is_refused(world: World, robot: MenderRobot) -> None:
    (robot.data / "mender" / "device_type").write_text("device_type=another\n")
    refused(world, robot, world.file(NEW), "another")


def refused(world: World, robot: MenderRobot, file: Path, *words: str, version: str = OLD) -> str:
    done = robot.take(file)
    assert done.code != 0, done.output
    for word in words:
        assert word in " ".join(done.output.split()), done.output
    world.check(robot, version)
    return done.output


def test_a_fleets_server_hears_how_it_went(world: World, robot: MenderRobot) -> None:
    """The client as the service that fleets have: it installs, commits and cleans up by itself, or goes back and says why."""
    with Server() as server, robot.service(server) as running:
        bad = server.deploy(world.file(BAD), f"{NAME}-{BAD}", NAME)
        assert server.wait(lambda: bad.ended and bad.log, TIMEOUT_S), running.text  # the log comes after the status
        assert bad.ended == "failure"
        assert "does not reproduce the golden features" in bad.log
        assert whole(robot) == OLD
        good = server.deploy(world.file(NEW), f"{NAME}-{NEW}", NAME)
        assert server.wait(lambda: good.ended, TIMEOUT_S), running.text
        assert good.ended == "success"
        assert "installing" in good.statuses
    world.check(robot, NEW)


def test_the_file_is_one_for_menders_own_tool(world: World) -> None:
    said = world.tool("read", "--key", world.key(), world.file(NEW)).stdout
    assert "signed and verified correctly" in said
    assert f"data-partition.{NAME}.version: {NEW}" in said
    assert world.file(NEW, BUNDLE).name in said
    assert world.tool("validate", "--key", world.key(foreign=True), world.file(NEW)).returncode != 0


def test_it_may_be_signed_with_rsa_or_not_at_all(world: World, tmp_path: Path) -> None:
    bundle = world.file(NEW, BUNDLE)
    rsa = tmp_path / "rsa.tool"
    subprocess.run(["openssl", "genrsa", "-out", rsa, "3072"], check=True, capture_output=True)
    for key, said in ((rsa, "signed and verified correctly"), (None, "no signature")):
        wish, work = Wish(PACKERS["mender"], {"device-type": ("one", "another"), "key": key}), tmp_path / said
        work.mkdir()
        with debians_programs(world.releases.folder):
            file = wish.pack(Payload(bundle, release_of(bundle, Naming())), bundle, work)
        options: tuple[str | Path, ...] = ("--key", public_key(rsa)) if key else ()
        read = world.tool("read", *options, file).stdout
        assert f"Signature: {said}" in read
        assert "[one another]" in read
