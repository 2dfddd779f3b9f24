"""Artefacts of a small checkpoint with real models of OpenVINO and ONNX Runtime, and machines to bring them to."""

from __future__ import annotations

import compileall
import os
import shutil
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgec.backends.cpu.program import cpu_program
from edgec.boards import commands
from edgec.boards.artefact import BoardArtefact
from edgec.boards.running import CommandResult
from edgec.building import BuildResult, build
from edgec.host import facts as host_facts
from edgec.request import BuildRequest
from tests.boards.loopback import SSHD, Board, Keys
from tests.cpu_device.machines import FLAG, PROFILE, python_with, write_facts
from tests.device.robot import Robot
from tests.support.files import save_checkpoint
from tests.support.frames import draw_pictures
from tests.support.models import SMALL


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cpu")
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    (folder / "courier.toml").write_text(PROFILE)
    return folder


def _build(folder: Path, name: str, **more: Any) -> BuildResult:
    return build(
        BuildRequest(
            str(folder / "checkpoint"),
            target=str(folder / "courier.toml"),
            calibration=str(folder / "frames"),
            size=SMALL,
            output=folder / f"{name}.edgec",
            **more,
        )
    )


@pytest.fixture(scope="session")
def foreign(sources: Path) -> BuildResult:
    """Built on a machine that is not its target: all that keep the features go along. Not to be changed."""
    here = host_facts._cpu()
    lacking = replace(here, isa=tuple(flag for flag in here.isa if flag != FLAG))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host_facts, "_cpu", lambda: lacking)
        return _build(sources, "foreign")


@pytest.fixture(scope="session")
def at_home(sources: Path) -> BuildResult:
    """Built, measured and chosen on this machine, which is its target. Not to be changed."""
    return _build(sources, "at-home", precision="fp32", iterations=20)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a folder, which starts faster than the archive."""
    folder = tmp_path_factory.mktemp("program")
    cpu_program().unpack(folder)
    compileall.compile_dir(folder, quiet=2)
    return folder


@pytest.fixture(scope="session")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return write_facts(tmp_path_factory.mktemp("facts"))


@pytest.fixture
def machine(foreign: BuildResult, program: Path, facts: Path, tmp_path: Path) -> Robot:
    return Robot(foreign.directory, facts, tmp_path / "root", program=program)


@pytest.fixture(scope="session")
def lived_in_root(foreign: BuildResult, program: Path, facts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies where a model of `foreign` is active. Not to be changed."""
    robot = Robot(foreign.directory, facts, tmp_path_factory.mktemp("lived-in") / "root", program=program)
    done = robot.run("run-all")
    assert done.code == 0, done
    return robot.root


@pytest.fixture
def active(machine: Robot, lived_in_root: Path) -> Robot:
    """A machine on which a model is active."""
    shutil.copytree(lived_in_root, machine.root, symlinks=True)
    return machine


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python without packages."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    return str(folder / "bin" / "python3")


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("there is no OpenSSH server here: apt-get install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    return Keys(tmp_path_factory.mktemp("keys"))


Boards = Callable[..., Board]


@pytest.fixture
def boards(keys: Keys, facts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Boards]:
    """Starts boards by their names; they measure no longer than they must, and no packages come from a network."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    original = commands.Board.run

    def shortly(self: commands.Board, artefact: BoardArtefact, command: str, *more: str, files: bool = False) -> CommandResult:
        return original(self, artefact, command, *more, "--seconds", "0.05", "--iterations", "20", files=files)

    monkeypatch.setattr(commands.Board, "run", shortly)
    with ExitStack() as stack:

        def start(name: str, facts: Path = facts, python: str = sys.executable) -> Board:
            there = python_with(tmp_path / f"{name}-python", python)
            return stack.enter_context(Board(keys, tmp_path / name, facts, {}, python=str(there)))

        yield start


@pytest.fixture
def artefact(foreign: BuildResult, tmp_path: Path) -> Path:
    """A test's own, which it may change, and beside which reports may be written."""
    return Path(shutil.copytree(foreign.directory, tmp_path / "work" / "foreign.edgec"))
