"""Options that nothing can be made of end in a typed error, and so does an engine that changed on the board."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgec.boards.address import Address
from tests.boards.conftest import Said
from tests.boards.loopback import NAME, Board


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--ssh-option", ""], 2),
        (["--ssh-option", "-oProxyCommand=x"], 2),
        (["--ssh-option", "NoEquals"], 2),
        (["--ssh-option", "Port=1\nProxyCommand=x"], 2),
        (["--ssh-option", "Port=" + "1" * 5000], 2),
        (["--ssh-option", "Port=999999999999"], 16),
        (["--ssh-option", "ConnectTimeout=never"], 16),
        (["--ssh-option", "User=" + "x" * 300], 16),
        (["--ssh-option", "SessionType=none", "--ssh-option", "ConnectTimeout=1"], 16),
        (["--identity", "~nosuchuser/key"], 2),
        (["--identity", "x" * 300], 2),
        (["--dir", "~nosuchuser/x"], 2),
        (["--dir", "/tmp/" + "x" * 300], 2),
        (["--dir", "/proc/nowhere"], 1),
        (["--patience", "inf"], 2),
        (["--patience", "nan"], 2),
        (["--patience", "1e300"], 2),
        (["--port", "0"], 2),
        (["--port", "9" * 5000], 2),
    ],
    ids=lambda value: str(value)[:50],
)
def test_odd_options(
    board: Board, artefact: Path, say: Said, monkeypatch: pytest.MonkeyPatch, more: list[str], code: int
) -> None:
    monkeypatch.setattr("edgec.boards.ssh.BATCH_PATIENCE_S", 1.5)
    monkeypatch.setattr("edgec.boards.ssh._END_S", 0.5)
    arguments = board.deploy(artefact)
    if more[0] == "--identity":
        arguments[arguments.index("--identity") + 1] = more[1]
    else:
        arguments += more
    got, _, err = say(arguments)
    assert got == code, err
    assert len(err) < 8000


def test_a_key_in_a_folder_that_is_called_like_a_home(
    board: Board, artefact: Path, say: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "~nosuchuser"
    folder.mkdir()
    shutil.copy(board.keys.folder / "client", folder / "key")
    monkeypatch.chdir(tmp_path)
    arguments = board.deploy(artefact, "--status")
    arguments[arguments.index("--identity") + 1] = "~nosuchuser/key"
    code, out, err = say(arguments)
    assert code == 0, err
    assert "nothing was activated yet" in out


@pytest.mark.parametrize(
    "address",
    [
        "x" * 300,
        "x" * 300 + "@orin",
        "ssh://" + "x" * 300 + ":22",
        "~nosuchuser",
        "orin:22:22/..",
        "ssh://orin:" + "9" * 5000,
        "",
    ],
    ids=lambda address: address[:20],
)
def test_addresses_that_do_not_exist(artefact: Path, say: Said, address: str) -> None:
    code, _, err = say(["deploy", str(artefact), address])
    assert code == 2, err
    assert len(err) < 2000


def test_long_names_keep_files_names_short() -> None:
    one, other = (Address.parse("a" * 200 + end) for end in ("b", "c"))
    assert one.label != other.label
    assert max(len(each.label) for each in (one, other)) <= 64
    assert Address.parse("orin-3.local", 2222).label == "orin-3.local-2222"


def test_an_artefact_whose_name_leaves_no_room(board: Board, artefact: Path, say: Said) -> None:
    """Said at once, and not when the report is there."""
    long = artefact.rename(artefact.with_name("x" * 240 + ".edgec"))
    code, _, err = say(board.deploy(long))
    assert code == 1
    assert "a shorter name" in err
    assert not board.root.exists()


def test_an_engine_that_changed_on_the_board(board: Board, deployed_root: Path, artefact: Path, say: Said) -> None:
    shutil.copytree(deployed_root, board.root, symlinks=True)
    code, out, err = say(board.deploy(artefact, "--status"))
    assert code == 0, err
    assert "verified, and unchanged since" in out
    plan = board.root / NAME / "engines" / str(board.current) / "engine.plan"
    with plan.open("ab") as file:
        file.write(b"x")
    code, out, err = say(board.deploy(artefact, "--status"))
    assert code == 0, err
    assert "CHANGED since it was verified" in out
    assert "engine.plan has SHA-256" in out
    (answer,) = json.loads(say(board.deploy(artefact, "--status", "--json"))[1])
    assert answer["answer"]["state"] == "changed"
    code, _, err = say(["bench", str(artefact), "--on", board.address, *board.options])
    assert code == 8
    assert "The active engine has changed since it was verified." in err
    assert "edgec deploy" in err
    assert say(board.deploy(artefact))[0] == 0
    assert "verified, and unchanged since" in say(board.deploy(artefact, "--status"))[1]
