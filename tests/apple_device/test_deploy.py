"""`edgec deploy`, `bench --on`, `--status` and `--rollback` to a Mac, over a real OpenSSH server; without memfd, as on macOS."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgec.boards import commands
from edgec.boards.artefact import BoardArtefact
from edgec.boards.running import CommandResult
from edgec.cli import run
from edgec.records.consistency import read_report
from edgec.records.evidence import Evidence
from tests.apple_device.mac import ENVIRONMENT, only
from tests.boards.loopback import SSHD, Board, Keys
from tests.device.robot import Robot

_NO_MEMFD = """
import os, pathlib
if hasattr(os, "memfd_create"):
    del os.memfd_create
pathlib.Path(__file__).with_name("was-here").touch()
"""


@pytest.fixture
def board(facts: Path, tmp_path: Path) -> Iterator[Board]:
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("there is no OpenSSH server here: apt-get install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("keys", "site", "scratch"):
        (tmp_path / name).mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(_NO_MEMFD)
    env = {**ENVIRONMENT, "PYTHONPATH": f"{tmp_path / 'site'}:{ENVIRONMENT['PYTHONPATH']}", "TMPDIR": str(tmp_path / "scratch")}
    with Board(Keys(tmp_path / "keys"), tmp_path / "board", facts, env, python=sys.executable) as board:
        yield board


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    original = commands.Board.run

    def shortly(self: commands.Board, artefact: BoardArtefact, command: str, *more: str, files: bool = False) -> CommandResult:
        few = [*only("cpuOnly", "all"), "--seconds", "0.05", "--iterations", "20"]
        return original(self, artefact, command, *more, *few, files=files)

    monkeypatch.setattr(commands.Board, "run", shortly)


@pytest.mark.usefixtures("quick")
def test_a_mac_is_a_board(board: Board, own: Path, program: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    say = _speaker(capsys)
    (deployed,) = json.loads(say([*board.deploy(own), "--json"]))
    assert deployed["chosen"] in ("w8-cpuOnly", "w8-all")
    assert deployed["active"].endswith("/current/w8.mlpackage")
    assert Path(deployed["active"]).is_dir()
    assert {"model/w8.mlpackage/Manifest.json", "golden/expected_shipped.npz", "device/edgec-mac.pyz"} <= set(deployed["copied"])
    report = read_report(Path(deployed["report"]))
    assert (report.target, report.host.cpu, report.host_is_target) == ("apple", "Apple M4 Pro", False)
    assert {each.latency.evidence for each in report.candidates if each.latency} == {Evidence.SIMULATED}
    assert len(report.candidates) == 2
    assert (tmp_path / "site" / "was-here").exists()
    assert list((tmp_path / "scratch").iterdir()) == [], "the program was a file there while it ran, and is none any more"

    assert "is the fastest that reproduces the features" in say(board.deploy(own, "--status"))
    out = say(["bench", str(own), "--on", board.address, *board.options])
    assert "(fastest)" in out
    assert "simulated on host" in out
    assert run(board.deploy(own, "--rollback")) == 14
    assert "nothing to roll back to" in capsys.readouterr().err
    (other,) = {"w8-cpuOnly", "w8-all"} - {deployed["chosen"]}
    mac = Robot(own, board.facts, board.root, program=program, env=dict(ENVIRONMENT))
    assert mac.run("activate", "--variant", other).code == 0
    assert f"back at {deployed['chosen']}-" in say(board.deploy(own, "--rollback"))
    (again,) = json.loads(say([*board.deploy(own), "--json"]))
    assert again["copied"] == []


@pytest.mark.usefixtures("quick")
def test_a_fault_ends_in_its_refusal(board: Board, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every compute unit computes something else: nothing is active, and what is known comes home."""
    board.told(STANDIN_FAULTS="blind@CPU_ONLY,blind@ALL")
    assert run(board.deploy(own)) == 9
    assert "ignores its input" in capsys.readouterr().err
    assert own.with_name(f"own.{board.label}.details.json").exists()
    assert not list(board.root.glob("*/current"))


def _speaker(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    def say(arguments: list[str]) -> str:
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured.out

    return say
