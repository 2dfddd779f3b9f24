"""A board that says what no board should: nothing of it is believed, kept or let through to the terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.boards.conftest import Said
from tests.boards.loopback import Board
from tests.support.forging import written

LIAR = """#!{python}
import os, sys
spoken = {folder!r} + "/spoken"
if "edgec-board" in sys.argv[2] or os.path.exists(spoken):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
open(spoken, "w").close()
print("Welcome to this board!")
sys.stdout.write(open({folder!r} + "/lines").read())
sys.stdout.flush()
if os.path.exists({folder!r} + "/lingers"):
    sys.stdin.buffer.read()
"""
"""In python3's place: says these lines once, instead of running what it is given."""
END = {"event": "end", "exit_code": 0}
DONE = {"event": "done", "step": "activate", "result": "activated", "path": "/x\x1b]0;owned\x07"}


@pytest.fixture
def lies(board: Board) -> Board:
    programs = board.folder / "liar"
    programs.mkdir()
    (programs / "python3").write_text(LIAR.format(python=sys.executable, folder=str(board.folder)))
    (programs / "python3").chmod(0o755)
    board.told(PATH=f"{programs}:/usr/bin:/bin")
    return board


def tell(board: Board, *lines: dict[str, Any] | str) -> None:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (board.folder / "lines").write_text(text + "\n")


def reports(board: Board, content: str) -> list[dict[str, Any]]:
    path = board.folder / "made-up.json"
    path.write_text(content)
    return [DONE, {"event": "measured", "path": str(path)}, END]


def test_terminal_codes_do_not_get_through(lies: Board, artefact: Path, say: Said) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07 fine\r\u202eoverwritten"
    log = {"event": "log", "step": evil, "text": evil, "line": evil}
    (lies.folder / "lingers").touch()
    error = {"event": "error", "what": evil, "evidence": [evil], "remedy": evil, "exit_code": 9}
    tell(lies, {**log, "event": "step"}, log, {"event": "progress", "detail": evil, "seconds": 1}, error, {**END, "exit_code": 9})
    code, out, err = say(lies.deploy(artefact))
    assert code == 9
    assert "fine" in err
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(out + err)


@pytest.mark.parametrize("path", ["../../../etc/passwd", "report.json"])
def test_only_files_of_the_artefact_are_sent(lies: Board, artefact: Path, say: Said, path: str) -> None:
    (lies.folder / "lingers").touch()  # else it may be gone before it was given all, which is a lost connection
    tell(lies, {"event": "wanted", "files": [{"path": path, "offset": 0}]})
    code, _, err = say(lies.deploy(artefact))
    assert code == 8, err
    assert "not in the artefact" in err


@pytest.mark.parametrize(
    "content",
    ["{", '{"schema_version": 1}', "[" * 100_000],
    ids=["torn", "bare", "deep"],
)
def test_invalid_reports_are_not_stored(lies: Board, artefact: Path, say: Said, content: str) -> None:
    tell(lies, *reports(lies, content))
    code, _, err = say(lies.deploy(artefact))
    assert code == 8, err
    assert list(artefact.parent.iterdir()) == [artefact]


@pytest.mark.parametrize("of", ["another checkpoint", "another build"])
def test_a_report_about_another_artefact_is_not_stored(
    lies: Board, deployed_root: Path, artefact: Path, say: Said, of: str
) -> None:
    (path,) = deployed_root.glob("*/measurements.json")
    report = json.loads(path.read_text())
    if of == "another checkpoint":
        report["model"]["checkpoint_sha256"] = "f" * 64
    else:
        report["artefact_sha256"] = "f" * 64
    tell(lies, *reports(lies, written(report)))
    code, _, err = say(lies.deploy(artefact))
    assert code == 8
    assert "not about this artefact" in err
    assert list(artefact.parent.iterdir()) == [artefact]


@pytest.mark.parametrize(
    ("lines", "code", "evidence"),
    [
        ([], 16, "Welcome to this board!"),
        (["x" * (3 << 20)], 16, "a line of more than"),
        (["[" * 5000, "null", '{"event": 3}', '{"event": "end", "exit_code": "0"}'], 16, '"exit_code": "0"'),
        ([END], 8, "without reporting a result"),
        ([{"event": "end", "exit_code": 70}], 16, "exit code 70"),
        ([{"event": "error", "what": "no", "exit_code": 77}, END], 1, "no"),
    ],
    ids=["nothing", "endless", "other types", "done, and that is all", "bug", "unknown code"],
)
def test_invalid_answers(
    lies: Board, artefact: Path, say: Said, lines: list[dict[str, Any] | str], code: int, evidence: str
) -> None:
    tell(lies, *lines)
    got, _, err = say(lies.deploy(artefact))
    assert got == code, err
    assert evidence in err
