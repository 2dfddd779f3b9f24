"""Releases through the real Mender client: what is good stays, what is not is taken back or refused."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.ota.mender import DEVICE_TYPE, MenderRobot
from benchmarks.ota.mender_server import Server
from benchmarks.ota.releases import BAD, FORGED, NAME, NEW, OLD
from edgec.onboard.container import SUFFIX as BUNDLE
from tests.ota.mender import SUFFIX, World, artifact

SECONDS = 120


@pytest.fixture
def robot(world: World, tmp_path: Path) -> MenderRobot:
    return world.robot(tmp_path / "robot")


def test_a_good_release_is_active_at_once_and_stays_after_the_commit(world: World, robot: MenderRobot) -> None:
    installed = robot.install(world.mender(NEW))
    assert installed.code == 0, installed.output
    assert world.releases.active(robot.edgec) == NEW
    assert robot.artifact == artifact(OLD), "Mender itself counts an update only when it is committed"
    committed = robot.mender("commit")
    assert committed.code == 0, committed.output
    world.check(robot, NEW)
    assert f"data-partition.{NAME}.version={NEW}" in robot.mender("show-provides").output
    assert robot.mender("rollback").code == 2, "there is nothing to roll back"
    world.check(robot, NEW)


def test_a_good_release_is_taken_back_on_request(world: World, robot: MenderRobot) -> None:
    assert robot.install(world.mender(NEW)).code == 0
    done = robot.mender("rollback")
    assert done.code == 0, done.output
    world.check(robot, OLD)


def test_a_release_that_does_not_compute_what_it_says_is_never_active(world: World, robot: MenderRobot) -> None:
    done = robot.install(world.mender(BAD))
    assert done.code != 0
    assert "does not reproduce the golden features" in done.output
    assert "exit status 9" in done.output
    world.check(robot, OLD)


def damage_the_engine(robot: MenderRobot) -> None:
    (path,) = robot.edgec.glob("*/current/model.onnx")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()  # the release has the same file
    path.write_bytes(content)


def fail_its_own_check(robot: MenderRobot) -> None:
    conf = robot.own / "etc/edgec/ota.conf"
    conf.write_text(conf.read_text() + "EDGEC_CHECK=false\n")


@pytest.mark.parametrize("spoil", [damage_the_engine, fail_its_own_check])
def test_what_is_unhealthy_at_the_commit_is_taken_back(
    world: World, robot: MenderRobot, spoil: Callable[[MenderRobot], None]
) -> None:
    assert robot.install(world.mender(NEW)).code == 0
    assert world.releases.active(robot.edgec) == NEW
    spoil(robot)
    done = robot.mender("commit")
    assert done.code != 0
    assert "Rolling back" in done.output
    world.check(robot, OLD)


def test_a_changed_payload_in_a_sound_file_is_refused_by_the_board(world: World, robot: MenderRobot, tmp_path: Path) -> None:
    changed = tmp_path / world.releases.file(NEW).name
    content = bytearray(world.releases.file(NEW).read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    file = tmp_path / "changed.mender"
    words = ["--artifact-name", artifact(NEW), "--device-type", DEVICE_TYPE, "--file", changed, "--output-path", file]
    subprocess.run([world.program, "write", "module-image", "--type", "edgec", *words], check=True, capture_output=True)
    refused(world, robot, file, "exit status 19")


@pytest.mark.parametrize(("version", "words"), [(FORGED, "which is not trusted"), (OLD, "exit status 20")])
def test_what_the_board_does_not_take_is_refused(
    world: World, robot: MenderRobot, version: str, words: str, new_data: Path
) -> None:
    """A key that nobody trusts; and an older release, once a newer one is committed."""
    if version == OLD:
        shutil.rmtree(robot.data)
        shutil.copytree(new_data, robot.data, symlinks=True)
    refused(world, robot, world.mender(version), words)


@pytest.fixture(scope="module")
def new_data(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk of a robot on which `NEW` is committed. Not to be changed."""
    robot = world.robot(tmp_path_factory.mktemp("new"))
    for done in (robot.install(world.mender(NEW)), robot.mender("commit")):
        assert done.code == 0, done.output
    return robot.data


def flip(file: Path) -> bytes:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    return bytes(content)


def cut_short(file: Path) -> bytes:
    return file.read_bytes()[: file.stat().st_size // 2]


@pytest.mark.parametrize("change", [flip, cut_short])
def test_a_damaged_file_is_refused_by_mender(
    world: World, robot: MenderRobot, tmp_path: Path, change: Callable[[Path], bytes]
) -> None:
    file = tmp_path / "damaged.mender"
    file.write_bytes(change(world.mender(NEW)))
    refused(world, robot, file, "")
    assert not list((robot.data / "mender").rglob(f"*{BUNDLE}")), "nothing is left of it"


def test_with_a_key_of_its_own_mender_takes_what_that_signed_alone(world: World, tmp_path: Path) -> None:
    releases = world.releases
    robot = world.robot(tmp_path / "robot", key=releases.folder / "other.pub")
    refused(world, robot, world.mender(NEW), "signer: verification failed")
    unsigned = tmp_path / "unsigned.mender"
    words = ["--artifact-name", artifact(NEW), "--device-type", DEVICE_TYPE, "--file", releases.file(NEW)]
    command = [world.program, "write", "module-image", "--type", "edgec", *words, "--output-path", unsigned]
    subprocess.run(command, check=True, capture_output=True)
    refused(world, robot, unsigned, "signature")
    shutil.copy(releases.folder / "key.pub", robot.own / "etc/mender/key.pem")
    done = robot.install(world.mender(NEW))
    assert done.code == 0, done.output


def test_a_release_for_other_devices_is_refused(world: World, robot: MenderRobot) -> None:
    (robot.data / "mender" / "device_type").write_text("device_type=another\n")
    refused(world, robot, world.mender(NEW), "another")


def refused(world: World, robot: MenderRobot, file: Path, *words: str) -> None:
    before, name = world.releases.active(robot.edgec), robot.artifact
    done = robot.install(file)
    assert done.code != 0, done.output
    for word in words:
        assert word in done.output, done.output
    assert world.releases.active(robot.edgec) == before
    assert not robot.update_is_open
    assert robot.artifact == name


def test_a_fleets_server_hears_how_it_went(world: World, robot: MenderRobot) -> None:
    """The client as the service that fleets have: install, commit, and clean up by itself, or roll back and say why."""
    with Server() as server:
        robot.connect(server.url)
        with robot.daemon() as running:
            bad = server.deploy(world.mender(BAD), artifact(BAD), DEVICE_TYPE)
            assert server.wait(SECONDS) == "failure", running.text
            assert "does not reproduce the golden features" in bad.log
            assert world.releases.active(robot.edgec) == OLD
            good = server.deploy(world.mender(NEW), artifact(NEW), DEVICE_TYPE)
            assert server.wait(SECONDS) == "success", running.text
            assert good.statuses[0] == "downloading"
            assert "installing" in good.statuses
    world.check(robot, NEW)


def test_the_files_is_what_menders_own_tool_reads(world: World) -> None:
    read = [world.program, "read", "--key", world.releases.folder / "key.pub", world.mender(NEW)]
    said = subprocess.run(read, check=True, capture_output=True, text=True).stdout
    assert "signed and verified correctly" in said
    assert f"data-partition.{NAME}.version: {NEW}" in said
    assert world.releases.file(NEW).name in said
    wrong = [world.program, "validate", "--key", world.releases.folder / "other.pub", world.mender(NEW)]
    assert subprocess.run(wrong, check=False, capture_output=True).returncode != 0
    assert world.mender(NEW).suffix == SUFFIX
