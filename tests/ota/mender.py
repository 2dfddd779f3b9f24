"""Fixtures for tests with the real Mender: releases, and robots on which the first of them is active and committed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ota.mender import MenderRobot, public_key
from benchmarks.ota.releases import BAD, NAME, NEW, OLD, Releases, debians_programs

SUFFIX = ".mender"


@dataclass(frozen=True)
class World:
    """Everything that robots are updated with, and a robot with `OLD`, committed, which is not to be changed."""

    releases: Releases
    files: Path
    """Bundles of all releases, and what Mender takes."""
    first: MenderRobot

    def robot(self, folder: Path, *, key: Path | None = None) -> MenderRobot:
        """Another one with the same on its disk. With a `key` its Mender takes only what that signed."""
        robot = MenderRobot(folder, self.releases, key)
        robot.copy_data(self.first)
        return robot

    def file(self, version: str, suffix: str = SUFFIX) -> Path:
        return self.files / f"{NAME}-{version}{suffix}"

    def tool(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """`mender-artifact`."""
        with debians_programs(self.releases.folder):
            return subprocess.run(["mender-artifact", *words], check=False, capture_output=True, text=True)

    def wrap(self, bundle: Path, file: Path) -> Path:
        """A .mender by somebody who has no key, with what he likes."""
        words: Sequence[str | Path] = ("--artifact-name", file.stem, "--device-type", NAME, "--file", bundle)
        done = self.tool("write", "module-image", "--type", "edgec", *words, "--output-path", file)
        assert done.returncode == 0, done.stderr
        return file

    def key(self, *, foreign: bool = False) -> Path:
        """The public key of who signs .mender files."""
        return public_key(self.releases.pair("mender", foreign=foreign).key)

    def check(self, robot: MenderRobot, version: str) -> None:
        """This version is active and whole, no update is open, and Mender says the same."""
        assert whole(robot) == version
        assert not is_open(robot)
        assert robot.artifact == f"{NAME}-{version}"


def make_world(releases: Releases, folder: Path) -> World:
    """Releases of all versions, and the first robot, which knows its server already."""
    for version in (OLD, NEW, BAD):
        releases.make(version, folder / "files")
    robot = MenderRobot(folder / "first", releases)
    ended = robot.install("mender", folder / "files" / f"{NAME}-{OLD}{SUFFIX}")
    assert ended.code == 0, ended.output
    return World(releases, folder / "files", robot)


def whole(robot: MenderRobot) -> str:
    """The active version, whose engine is as it was verified; empty if nothing is active."""
    version = robot.active()
    if version:
        (link,) = robot.data.glob("edgec/*/current")
        engine, verify = (json.loads((link / f"{name}.json").read_text()) for name in ("engine", "verify"))
        assert engine["sha256"] == verify["engine_sha256"] == robot.releases.model(version)
        assert verify["passed"] is True
    return version


def is_open(robot: MenderRobot) -> bool:
    """Whether a release is neither committed nor undone."""
    return (robot.data / "edgec" / "update.json").exists()


def flipped(path: Path, folder: Path) -> Path:
    """A copy with another bit in its middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    copy = folder / path.name
    copy.write_bytes(content)
    return copy


def cut_short(path: Path, folder: Path) -> Path:
    copy = Path(shutil.copy(path, folder))
    os.truncate(copy, path.stat().st_size // 2)
    return copy
