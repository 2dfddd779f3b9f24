"""`edgec deploy` and `bench --on` to a machine with a GPU, over a real OpenSSH server."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgec.boards import commands
from edgec.boards.artefact import BoardArtefact
from edgec.boards.running import CommandResult
from edgec.building import BuildResult
from edgec.cli import run
from edgec.records.consistency import read_report
from tests.boards.loopback import SSHD, Board, Keys


@pytest.fixture
def board(gpu: dict[str, str], facts: Path, tmp_path: Path) -> Iterator[Board]:
    """NVIDIA's packages are in an environment in the program's folder, where it looks by itself."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("there is no OpenSSH server here: apt-get install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    (tmp_path / "keys").mkdir()
    keys = Keys(tmp_path / "keys")
    with Board(keys, tmp_path / "board", facts, gpu, python=sys.executable) as board:
        python = board.root / "venv" / "bin" / "python3"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        yield board


def test_an_artefact_is_deployed_and_measured_again(
    board: Board, built: BuildResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = commands.Board.run

    def shortly(self: commands.Board, artefact: BoardArtefact, command: str, *more: str, files: bool = False) -> CommandResult:
        return original(self, artefact, command, *more, "--seconds", "0.05", "--iterations", "20", files=files)

    monkeypatch.setattr(commands.Board, "run", shortly)
    artefact = Path(shutil.copytree(built.directory, tmp_path / "work" / "robot.edgec"))
    assert run([*board.deploy(artefact), "--json"]) == 0
    (deployed,) = json.loads(capsys.readouterr().out)
    assert deployed["chosen"] == "fp16"
    assert {"model/fp16.engine", "device/edgec-rtx.pyz"} <= set(deployed["copied"])
    report = read_report(Path(deployed["report"]))
    assert report.target == "rtx"
    assert not report.host_is_target
    assert run(["bench", str(artefact), "--on", board.address, *board.options]) == 0
    assert "fp16 (fastest)" in capsys.readouterr().out
