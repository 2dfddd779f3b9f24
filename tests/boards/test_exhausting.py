"""Boards that would use up the workstation: its memory, its time, its disk or its terminal. They are real programs behind a real
server; each ends in a typed error, soon, and within little memory."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgec.boards import running, ssh
from edgec.cli.boards import BURST
from tests.boards.conftest import Said
from tests.boards.loopback import Board
from tests.support.commands import environment
from tests.support.forks import Forks, forks_of

PROGRAM = """#!{python}
import json, os, sys, time
hello = "edgec-board" in sys.argv[2]
python = {python!r}
folder = {folder!r}

def real():
    os.execv(python, [python, *sys.argv[1:]])

def greet():
    print("edgec-board 3 10 12", flush=True)

def say(**event):
    sys.stdout.write(json.dumps(event) + "\\n")
    sys.stdout.flush()

def flood(descriptor, block):
    while True:
        os.write(descriptor, block)

def flood_events(event):
    for start in range(0, 10**9, 500):
        sys.stdout.write("".join(json.dumps(event(n)) + "\\n" for n in range(start, start + 500)))
        sys.stdout.flush()

def listen():
    sys.stdin.buffer.read()

def report(path):
    say(event="done", step="activate", path="/x")
    say(event="measured", path=path)
    say(event="end", exit_code=0)

{body}
"""
"""In python3's place."""
Limited = Callable[[list[str]], tuple[int, str]]
DATA_BYTES = 700 << 20
"""That the workstation's process may have; a quarter of it is Python, numpy and the rest."""


def becomes(board: Board, body: str) -> None:
    programs = board.folder / "hostile"
    programs.mkdir(exist_ok=True)
    (programs / "python3").write_text(PROGRAM.format(python=sys.executable, folder=str(board.folder), body=body))
    (programs / "python3").chmod(0o755)
    board.told(PATH=f"{programs}:/usr/bin:/bin")


@pytest.fixture(autouse=True)
def _ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these boards has to be left behind, most of them because they do not end."""
    monkeypatch.setattr(ssh, "_END_S", 0.5)
    monkeypatch.setattr(running, "_END_S", 0.5)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """With what `edgec deploy` imports, and no more, so that the limit on memory is as strict as for a new process."""
    yield from forks_of("edgec.boards.artefact", "edgec.boards.commands", "edgec.boards.side_by_side", "edgec.boards.comparison")


@pytest.fixture
def limited(forks: Forks, tmp_path: Path) -> Limited:
    """Runs a command in a process with little memory: exit code and standard error."""

    def run(arguments: list[str]) -> tuple[int, str]:
        done = forks.run(*arguments, cwd=tmp_path, env=environment(), most_data_bytes=DATA_BYTES)
        err = done.stderr.decode()
        assert "Traceback" not in err, err
        return done.returncode, err

    return run


BEFORE_THE_GREETING = {
    "output": "flood(1, b'welcome ' * 1000)",
    "lines": "flood(1, b'\\n' * 1000)",
    "errors": "flood(2, b'welcome ' * 1000)",
    "digits": "print('edgec-board 3 10 ' + '1' * 5000, flush=True); listen()",
    "only digits": "print('edgec-board ' + '9' * 60000, flush=True); flood(1, b'9' * 1000)",
    "no numbers": "print('edgec-board x y z', flush=True)",
}


@pytest.mark.parametrize("body", BEFORE_THE_GREETING.values(), ids=BEFORE_THE_GREETING.keys())
def test_before_the_greeting(board: Board, artefact: Path, say: Said, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    monkeypatch.setattr(ssh, "BATCH_PATIENCE_S", 1.0)
    becomes(board, body)
    began = time.monotonic()
    code, out, err = say(board.deploy(artefact))
    assert (code, out) == (16, ""), err
    assert len(err) < 4000
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("body", ["listen()", "os.close(1); os.close(2); time.sleep(60)", "os.kill(os.getpid(), 9)"])
def test_no_greeting_at_all(board: Board, artefact: Path, say: Said, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    monkeypatch.setattr(ssh, "BATCH_PATIENCE_S", 1.0)
    becomes(board, body)
    code, _, err = say(board.deploy(artefact))
    assert code == 16, err


AFTER_IT = {
    "noise": "flood(1, b'noise ' * 10000)",
    "lines": "flood(1, b'{\\n' * 10000)",
    "empty lines": "flood(1, b'\\n' * 50000)",
    "errors": "flood(2, b'errors\\n' * 10000)",
    "both": "os.fork() and flood(1, b'x' * 10000); flood(2, b'y' * 10000)",
    "names": "flood_events(lambda n: dict(event='e%d' % n, text='x' * 1000))",
    "steps": "flood_events(lambda n: dict(event='done', step='s%d' % n, reason='x' * 1000))",
    "wanted": "flood_events(lambda n: dict(event='wanted', files=[dict(path='model/int8.onnx', offset=0)]))",
    "nothing wanted": "flood_events(lambda n: dict(event='wanted', files=[]))",
    "many wanted": "say(event='wanted', files=[dict(path='model/int8.onnx', offset=0)] * 6000); sys.stdin.buffer.read()",
    "brackets": "flood(1, b'[]' * 50000)",
    "an object of brackets": "flood(1, b'{\"event\": \"log\", \"x\": [' + b'[],' * 300_000 + b'[]]}\\n')",
}


@pytest.mark.parametrize("body", AFTER_IT.values(), ids=AFTER_IT.keys())
def test_floods(board: Board, artefact: Path, limited: Limited, body: str) -> None:
    becomes(board, f"if hello:\n    greet()\n    listen()\nelse:\n    {body}")
    code, err = limited(board.deploy(artefact))
    assert code == 16, err
    assert "does not behave as a board does" in err
    assert len(err) < 2 * BURST * 1000


SILENT = {
    "nothing": "listen()",
    "noise now and then": "[(print('still here', flush=True), time.sleep(0.2)) for n in range(300)]",
    "errors now and then": "[(print('still here', file=sys.stderr, flush=True), time.sleep(0.2)) for n in range(300)]",
    "an unfinished line": "[(os.write(1, b'x'), time.sleep(0.2)) for n in range(300)]",
    "closed output": "os.close(1); os.close(2); time.sleep(60)",
    "no end": "os.close(0); time.sleep(60)",
}


@pytest.mark.parametrize("body", SILENT.values(), ids=SILENT.keys())
def test_silence(board: Board, artefact: Path, say: Said, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    monkeypatch.setattr(running, "SILENCE_S", 0.7)
    becomes(board, f"if hello:\n    greet()\n    listen()\nelse:\n    {body}")
    code, _, err = say(board.deploy(artefact, "--status"))
    assert code == 16, err


def test_a_board_that_never_ends(board: Board, artefact: Path, say: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "MOST_S", 0.7)
    body = "[(say(event='progress', seconds=n), time.sleep(0.2)) for n in range(300)]"
    becomes(board, f"if hello:\n    greet()\n    listen()\nelse:\n    {body}")
    code, _, err = say(board.deploy(artefact))
    assert code == 16
    assert "has not ended" in err


NUMBERS = ["1" + "0" * 400, "9" * 5000, str(2**63), str(-(2**63) - 1), "1e309", "-1e309", "NaN", "Infinity", "-1", "1e400"]


FIELDS = {
    "end": '"exit_code": %s',
    "wanted": '"files": [{"path": "model/int8.onnx", "offset": %s}]',
    "progress": '"seconds": %s, "done_bytes": 1, "total_bytes": 2',
    "copied": '"seconds": 1, "done_bytes": %s, "total_bytes": %s',
    "done": '"step": "copy", "size_bytes": %s, "files": []',
    "error": '"what": "no", "exit_code": %s',
}


@pytest.mark.parametrize("event", FIELDS)
def test_numbers_that_no_type_holds(board: Board, artefact: Path, say: Said, event: str) -> None:
    """What holds one is no event: nothing was said in the end."""
    name = {"copied": "progress"}.get(event, event)
    lines = [f'{{"event": "{name}", ' + FIELDS[event].replace("%s", number) + "}" for number in NUMBERS]
    (board.folder / "lines").write_text("\n".join(lines) + "\n")
    becomes(board, "if hello:\n    greet()\n    listen()\nprint(open(folder + '/lines').read(), flush=True)")
    code, _, err = say(board.deploy(artefact, "--status"))
    assert code == 16, err
    assert len(err) < 5000


@pytest.mark.parametrize(
    ("body", "expected"),
    [("say(event='end', exit_code=0)", 8), ("say(event='end', exit_code=9)", 16), ("say(event='done')", 16)],
    ids=["well", "badly", "nothing"],
)
@pytest.mark.parametrize("command", ["--status", "--rollback"])
def test_an_end_without_an_answer(board: Board, artefact: Path, say: Said, body: str, expected: int, command: str) -> None:
    becomes(board, f"if hello:\n    greet()\n    listen()\n{body}")
    assert say(board.deploy(artefact, command))[0] == expected


@pytest.mark.parametrize("offset", [2**62, 10**7, 2**63 - 1])
def test_beyond_the_end_of_a_file(board: Board, artefact: Path, say: Said, offset: int) -> None:
    asked = f"say(event='wanted', files=[dict(path='model/int8.onnx', offset={offset})]); listen()"
    becomes(board, f"if hello:\n    greet()\n    listen()\nelse:\n    {asked}")
    code, _, err = say(board.deploy(artefact))
    assert code == 16
    assert "which it does not have" in err


REPORTS: dict[str, tuple[str, int]] = {
    "60 MB of lists": ("'[' + '[],' * 20_000_000 + '[]]'", 8),
    "60 MB of lists in an object": ("'{\"schema_version\": [' + '[],' * 20_000_000 + '[]]}'", 8),
    "deep": ("'[' * 10_000_000", 8),
    "deep objects": ("'{\"a\":' * 5_000_000", 8),
    "100 MB": ("' ' * (100 << 20)", 16),
    "400 digits": ("good.replace('\"schema_version\": 1', '\"schema_version\": 1' + '0' * 400)", 8),
    "2**63 wide": ("good.replace('\"validation_frames\": 2', '\"validation_frames\": 9223372036854775808')", 8),
    "1e309": ("good.replace('\"gflops\": 0.01', '\"gflops\": 1e309')", 8),
    "NaN": ("good.replace('\"gflops\": 0.01', '\"gflops\": NaN')", 8),
    "a name twice": ('good.replace(\'"schema_version": 1\', \'"schema_version": 1, "schema_version": 1\')', 8),
    "a long text": ("good.replace('\"calibration\": \"', '\"calibration\": \"' + 'x' * 30_000_000)", 8),
    "a stranger": ("good.replace('\"int8\"', '\"\\\\u001b[2Jint9\"')", 8),
    "surrogates": ('good.replace(\'"calibration": "\', \'"calibration": "\\\\ud800\')', 8),
}


@pytest.mark.parametrize(("content", "expected"), REPORTS.values(), ids=REPORTS.keys())
def test_reports(board: Board, deployed_root: Path, artefact: Path, limited: Limited, content: str, expected: int) -> None:
    (path,) = deployed_root.glob("*/measurements.json")
    prepared = f"good = open({str(path)!r}).read()\nopen(folder + '/made', 'w').write({content})"
    asked = "if hello:\n    greet()\n    listen()\nelif os.path.exists(folder + '/made'):\n    real()"
    becomes(board, f"{asked}\n{prepared}\nreport(folder + '/made')")
    code, err = limited(board.deploy(artefact))
    assert code == expected, err
    assert len(err) < 8000
    assert "\x1b[2J" not in err
    assert list(artefact.parent.iterdir()) == [artefact]


@pytest.mark.parametrize("place", ["/dev/zero", "/proc/self/nothing", "x" * 300, "~nosuchuser", "\0", "x" * 60_000])
def test_reports_from_odd_places(board: Board, artefact: Path, limited: Limited, place: str) -> None:
    (board.folder / "place").write_text(place)
    first = "if hello or os.path.exists(folder + '/told'):\n    real()\nopen(folder + '/told', 'w')"
    becomes(board, f"{first}\nreport(open(folder + '/place').read())")
    code, err = limited(board.deploy(artefact))
    assert code == 16, err
    assert len(err) < 8000


FETCHED = {
    "never comes": ("time.sleep(60)", 0.7),
    "errors": ("flood(2, b'x' * 10000)", 2.0),
    "too much": ("flood(1, b'[]' * 10000)", 2.0),
    "does not end": ("os.close(1); os.close(2); time.sleep(60)", 0.7),
}


@pytest.mark.parametrize(("body", "seconds"), FETCHED.values(), ids=FETCHED.keys())
def test_fetching(board: Board, artefact: Path, say: Said, monkeypatch: pytest.MonkeyPatch, body: str, seconds: float) -> None:
    monkeypatch.setattr(running, "_FETCH_S", seconds)
    once = "elif not os.path.exists(folder + '/told'):\n    open(folder + '/told', 'w')\n    report('/x')"
    becomes(board, f"if hello:\n    greet()\n    listen()\n{once}\nelse:\n    {body}")
    code, _, err = say(board.deploy(artefact))
    assert code == 16, err
    assert list(artefact.parent.iterdir()) == [artefact]


def test_output_after_the_greeting_is_not_read(board: Board, artefact: Path, limited: Limited) -> None:
    """The connection's own command floods; the board is deployed to all the same."""
    becomes(board, "if hello:\n    greet()\n    os.fork() and flood(1, b'x' * 10000)\n    flood(2, b'\\x1b[2J' * 1000)\nreal()")
    code, err = limited(board.deploy(artefact, "--status"))
    assert code == 0, err
    assert "\x1b[2J" not in err


def test_the_terminal_is_not_flooded(board: Board, artefact: Path, say: Said) -> None:
    line = "say(event='log', text='line\\n' * 20 + 'x' * 20000)"
    becomes(board, f"if hello:\n    greet()\n    listen()\n[{line} for n in range(1000)]\nsay(event='end', exit_code=0)")
    code, _, err = say(board.deploy(artefact))
    assert code == 8
    assert len(err.splitlines()) < 2 * BURST
    assert max(map(len, err.splitlines())) < 2000
    assert "lines are left out" in err


def test_an_endless_error_is_shortened(board: Board, artefact: Path, say: Said) -> None:
    error: dict[str, Any] = {"event": "error", "what": "x" * 60_000, "evidence": ["y" * 1000] * 900, "remedy": "z" * 60_000}
    (board.folder / "line").write_text(json.dumps({**error, "exit_code": 9}) + '\n{"event": "end", "exit_code": 9}\n')
    becomes(board, "if hello:\n    greet()\n    listen()\nprint(open(folder + '/line').read(), flush=True)")
    code, _, err = say(board.deploy(artefact))
    assert code == 9
    assert len(err) < 60_000
