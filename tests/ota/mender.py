"""Fixtures for tests with the real Mender: releases, and robots on which the first of them is active and committed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.arm64.debian import Unavailable
from benchmarks.ota.mender import DEVICE_TYPE, MenderRobot, artifact_program
from benchmarks.ota.releases import NAME, OLD, Releases, make_releases
from edgec.bundle.ota.mender import Mender
from edgec.bundle.ota.packer import Wish

SUFFIX = Mender.suffix


@dataclass(frozen=True)
class World:
    """Everything that robots are updated with; `program` is `mender-artifact`."""

    releases: Releases
    program: Path
    first: MenderRobot
    """With `OLD`, committed. Not to be changed."""

    def robot(self, folder: Path, *, key: Path | None = None) -> MenderRobot:
        """Another one with the same on its disk. With a `key` its Mender takes only what that signed."""
        folder.mkdir(exist_ok=True)
        robot = MenderRobot(folder, self.releases.program, [self.releases.folder / "key.pub"], key=key)
        shutil.copytree(self.first.data, robot.data, symlinks=True, dirs_exist_ok=True)
        return robot

    def mender(self, version: str) -> Path:
        return self.releases.file(version, SUFFIX)

    def check(self, robot: MenderRobot, version: str) -> None:
        """This version is active and whole, no update is open, and Mender says the same."""
        assert self.releases.active(robot.edgec) == version
        assert not robot.update_is_open
        assert robot.artifact == artifact(version)


def artifact(version: str) -> str:
    """What Mender calls the release."""
    return f"{NAME}-{version}"


def make_world(folder: Path) -> World:
    """Skips where Mender cannot be had."""
    try:
        program = artifact_program(folder)
    except Unavailable as problem:
        pytest.skip(f"no Mender: {problem}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        releases = make_releases(_empty(folder / "releases"), wishes)
    robot = MenderRobot(_empty(folder / "first"), releases.program, [releases.folder / "key.pub"])
    for ended in (robot.install(releases.file(OLD, SUFFIX)), robot.mender("commit")):
        assert ended.code == 0, ended.output
    return World(releases, program, robot)


def wishes(folder: Path) -> list[Wish]:
    return [Wish(Mender(), {"device-type": (DEVICE_TYPE,), "key": folder / "key"})]


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder
