"""Workers whose runtime writes what it likes: a problem in words, soon, and within little memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgec.latency.answers import FORMS, read_answer
from edgec.latency.process import Helper
from edgec.onboard import worker as process
from edgec.onboard.worker import WorkerProblem
from edgec.untrusted import Refused

LIAR = """
import os, sys, time
sys.stdin.readline()
{body}
"""
SOUND = '{"samples_ms": [%s], "cpu_ms": 1.0, "block_cpu_ms": 1.0}\\n'


def asked(folder: Path, body: str, seconds: float = 30) -> dict[str, object]:
    # Helpers start where they are told to, and `-m` finds modules there.
    (folder / "liar.py").write_text(LIAR.format(body=body))
    with Helper("liar", "liar", folder) as helper:
        return helper.ask({"do": "run", "iterations": 1}, seconds)


def test_valid_answers(tmp_path: Path) -> None:
    assert asked(tmp_path, f"os.write(1, b'{SOUND % '1.5'}')")["samples_ms"] == [1.5]


@pytest.mark.parametrize(
    "number", ["1" + "0" * 400, "9" * 5000, str(2**63), "1e309", "NaN", "-1", "Infinity", '"1"', "null", "true", "[]"]
)
def test_invalid_samples(tmp_path: Path, number: str) -> None:
    with pytest.raises(WorkerProblem, match="cannot be used"):
        asked(tmp_path, f"print({(SOUND % number).replace(chr(92) + 'n', '')!r})")


@pytest.mark.parametrize(
    "body",
    [
        "print('[]')",
        "print('{}')",
        "print('null')",
        "print('not JSON')",
        "print('[' * 100_000)",
        "print('[' + '[],' * 5_000_000 + '[]]')",
        'print(\'{"samples_ms": [], "cpu_ms": 1.0}\')',
        "os.write(1, b'\\xff\\xfe\\n')",
    ],
)
def test_invalid_answers(tmp_path: Path, body: str) -> None:
    with pytest.raises(WorkerProblem, match="cannot be used"):
        asked(tmp_path, body)


def test_an_answer_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MOST_ANSWER_BYTES", 1 << 20)
    with pytest.raises(WorkerProblem, match="answered with more than"):
        asked(tmp_path, "while True:\n    os.write(1, b'1' * 10000)")


def test_a_runtime_that_prints_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MOST_LOG_BYTES", 1 << 20)
    with pytest.raises(WorkerProblem, match="printed more than") as caught:
        asked(tmp_path, "while True:\n    os.write(2, b'noise\\n' * 10000)\n    time.sleep(0.01)")
    assert len(str(caught.value)) < 4000


def test_the_clock_may_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: -1e12)
    with pytest.raises(WorkerProblem, match="no answer within 0 s"):
        asked(tmp_path, "time.sleep(30)", seconds=0.3)


@pytest.mark.parametrize("do", FORMS)
def test_an_empty_answer_is_invalid(do: str) -> None:
    with pytest.raises(Refused, match="is no answer to"):
        read_answer(b"{}", do)
    assert read_answer(b'{"error": "no"}', do) == {"error": "no"}


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("print('{}')", "no valid answer"),
        ("print('[' * 10000)", "no valid answer"),
        ("os.kill(os.getpid(), 9)", "died"),
        ("sys.stdout.write('x' * (20 << 20))", "was stopped"),
        ("sys.stderr.write('x' * (20 << 20))", "was stopped"),
        ("time.sleep(60)", "was stopped"),
    ],
)
def test_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, what: str) -> None:
    from edgec.errors import RuntimeFailure
    from edgec.latency import profiling

    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\nimport os, sys, time\nsys.stdin.read()\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(profiling, "MOST_LOG_BYTES", 10 << 20)
    with pytest.raises(RuntimeFailure, match=what):
        profiling._ask({"frames": "x" * 200_000}, tmp_path, 2.0)
