"""A board that runs a real OpenSSH server, and an artefact for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgec.cli import run
from tests.boards.loopback import LATENCY, SSHD, Board, Keys, write_artefact
from tests.device.robot import Robot, write_facts

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("there is no OpenSSH server here: apt-get install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_facts(tmp_path_factory.mktemp("facts"))


@pytest.fixture(scope="session")
def memo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memo")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return write_artefact(tmp_path_factory.mktemp("artefact") / "small.edgec")


@pytest.fixture
def artefact(built: Path, tmp_path: Path) -> Path:
    """A test's own, which it may change, and beside which reports may be written."""
    return Path(shutil.copytree(built, tmp_path / "work" / "small.edgec"))


@pytest.fixture
def boards(keys: Keys, facts: Path, memo: Path, tmp_path: Path) -> Iterator[Callable[[str], Board]]:
    with ExitStack() as stack:

        def start(name: str) -> Board:
            return stack.enter_context(Board(keys, tmp_path / name, facts, {"STANDIN_MEMO": str(memo)}))

        yield start


@pytest.fixture
def board(boards: Callable[[str], Board]) -> Board:
    return boards("board")


@pytest.fixture(scope="session")
def deployed_root(built: Path, facts: Path, memo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies on a board on which an engine of `built` is active. Not to be changed."""
    return _root(built, facts, memo, tmp_path_factory.mktemp("deployed"), "10.3.0")


@pytest.fixture(scope="session")
def lived_in_root(built: Path, facts: Path, memo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, but before an upgrade of TensorRT."""
    return _root(built, facts, memo, tmp_path_factory.mktemp("lived-in"), "10.13.3")


def _root(built: Path, facts: Path, memo: Path, folder: Path, version: str) -> Path:
    robot = Robot(built, facts, folder / "edgec", env={"STANDIN_MEMO": str(memo), "STANDIN_LATENCY": LATENCY})
    assert robot.run("run-all", STANDIN_TENSORRT=version).code == 0
    return robot.root


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs one command in this process: exit code, standard output, standard error."""

    def command(arguments: list[str]) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(arguments)
        said = capsys.readouterr()
        assert "Traceback" not in said.err, said.err
        return code, said.out, said.err

    return command
