"""A board whose Python has nothing: `edgec deploy` brings the runtime along."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgec.cli import run
from edgec.records.consistency import read_report
from tests.boards.loopback import Board
from tests.boards.test_interrupted import DROP, wait_for_lock
from tests.cpu_device.conftest import Boards
from tests.cpu_device.machines import check_whole, installed_wheel, pure_wheel
from tests.device.robot import Robot

NEEDED = ("onnxruntime", "numpy", "flatbuffers", "packaging", "protobuf")
HALF = 10_000_000


def version(package: str) -> str:
    return importlib.metadata.version(package).split("-")[0]


@pytest.fixture
def board(boards: Boards, bare: str) -> Board:
    return boards("board", python=bare)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ONNX Runtime and what it needs, as they are installed here; no OpenVINO."""
    folder = tmp_path_factory.mktemp("wheels")
    for package in NEEDED:
        installed_wheel(folder, package)
    return folder


def test_a_runtime_is_brought_along_and_an_interrupted_transfer_goes_on(
    board: Board, artefact: Path, wheels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "drop.py").write_text(DROP)
    proxy = f"ProxyCommand={sys.executable} {tmp_path / 'drop.py'} {HALF} {board.port}"
    assert run([*board.deploy(artefact), "--wheels", str(wheels), "--ssh-option", proxy]) == 16
    said = capsys.readouterr().err
    assert "installs in ~/.local/share/edgec/environments" in said
    assert f"onnxruntime {version('onnxruntime')}" in said
    assert "openvino stays missing" in said
    wait_for_lock(board)
    (incoming,) = (board.root / "environments").glob("*.wheels")
    begun = sum(path.stat().st_size for path in incoming.iterdir())
    assert 0 < begun < HALF

    assert run([*board.deploy(artefact), "--wheels", str(wheels), "--json"]) == 0, capsys.readouterr().err
    out, err = capsys.readouterr()
    (deployed,) = json.loads(out)
    assert deployed["chosen"] == "onnxruntime-fp32"
    whole = sum(path.stat().st_size for path in wheels.iterdir())
    assert f"{(whole - begun) / 1e6:.1f} MB" in err, "what was there is not sent again"
    report = read_report(Path(deployed["report"]))
    assert report.host.versions == {"onnxruntime": version("onnxruntime")}
    assert "openvino-fp32 is left out: it needs OpenVINO" in " ".join(report.notes)
    check_whole(Robot(artefact, board.facts, board.root))
    (environment,) = (board.root / "environments").iterdir()
    assert (environment / "environment.json").is_file()

    (environment / "numpy" / "__init__.py").unlink()
    assert run(["bench", str(artefact), "--on", board.address, *board.options]) == 12
    assert f"{environment} has changed since it was unpacked" in capsys.readouterr().err
    assert run([*board.deploy(artefact), "--wheels", str(wheels)]) == 0, "it is sent again"
    assert (environment / "numpy" / "__init__.py").is_file()

    shutil.rmtree(environment)
    assert run([*board.deploy(artefact), "--status"]) == 0, "it needs no runtime to say what is active"


def test_no_wheel_for_the_board(board: Board, artefact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wheels").mkdir()
    pure_wheel(tmp_path / "wheels", "onnxruntime", "0.1", "")
    assert run([*board.deploy(artefact), "--wheels", str(tmp_path / "wheels")]) == 12
    said = capsys.readouterr().err
    assert f"there is no wheel for it in {tmp_path / 'wheels'}" in said
    assert "No matching distribution found" in said
    assert "from versions" not in said, "pip's list of all that there is"
    assert f"Python {sys.version_info[0]}.{sys.version_info[1]} on" in said
    assert f"onnxruntime=={version('onnxruntime')}" in said
    assert "--wheels" in said.splitlines()[-1]
    assert not board.root.exists()


def _deployed(board: Board, artefact: Path, folder: Path, capsys: pytest.CaptureFixture[str], code: int) -> Sequence[str]:
    assert run([*board.deploy(artefact), "--wheels", str(folder)]) == code
    assert not list(board.root.glob("*/current"))
    return capsys.readouterr().err


def test_wheels_that_are_no_runtime(board: Board, artefact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One is damaged where only unpacking notices; the next ones are whole, and do not start."""
    folder = tmp_path / "wheels"
    pure_wheel(folder, "openvino", version("openvino"), "VERSION = 'with much to say'")
    wheel = pure_wheel(folder, "onnxruntime", version("onnxruntime"), "VERSION = 'with much to say'")
    wheel.write_bytes(wheel.read_bytes().replace(b"much to say", b"more to say", 1))
    assert f"{wheel.name} is no wheel" in _deployed(board, artefact, folder, capsys, 8)
    assert not list((board.root / "environments").glob("[!.]*/environment.json"))

    pure_wheel(folder, "onnxruntime", version("onnxruntime"), "raise RuntimeError('not on this board')")
    said = _deployed(board, artefact, folder, capsys, 12)
    assert "No runtime for this bundle is installed here" in said
    assert "ONNX Runtime: " in said
