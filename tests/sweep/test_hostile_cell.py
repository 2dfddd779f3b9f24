"""Cells' processes and workers that say what no build says: the cell has failed, and the sweep goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from edgec.request import BuildRequest
from edgec.sweep import child
from edgec.sweep.child import outcome_from, run_cell
from edgec.sweep.scheduler import _worker_problems
from edgec.untrusted import Refused


def built(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> child.Outcome:
    """What becomes of a cell whose process does this."""
    program = folder / "python"
    program.write_text(f"#!{sys.executable}\nimport os, sys, time\nsys.stdin.readline()\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    request = BuildRequest(checkpoint="demo", output=folder / "out" / "cell.edgec")
    return run_cell(request, lambda: True)


def test_a_normal_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = built(tmp_path, monkeypatch, """print('{"event": "done", "build_key": "ab", "reused": false}')""")
    assert (outcome.exit_code, outcome.build_key) == (0, "ab")


@pytest.mark.parametrize(
    "body",
    [
        "print('{}')",
        "print('[]')",
        "print('not JSON')",
        "print('[' * 100_000)",
        "print('{\"event\": 5}')",
        'print(\'{"event": "stage"\')',
        "print('{\"event\": \"failed\", \"exit_code\": 1' + '0' * 400 + '}')",
        'print(\'{"event": "failed", "exit_code": -1, "error": "x", "detail": []}\')',
        'print(\'{"event": "failed", "exit_code": 3, "error": 5, "detail": []}\')',
        'print(\'{"event": "done", "build_key": 1e309, "reused": false}\')',
        "os.write(1, b'\\xff\\n')",
        "while True:\n    os.write(1, b'x' * 10000)",
        'while True:\n    os.write(1, b\'{"event": "alone"}\\n\' * 1000)',
    ],
)
def test_output_that_no_build_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """With limits that are reached soon, and little time for what goes on until it is killed."""
    monkeypatch.setattr(child, "_GRACE_S", 0.5)
    monkeypatch.setattr(child, "MOST_LINE_BYTES", 1 << 16)
    monkeypatch.setattr(child, "MOST_BYTES", 1 << 19)
    outcome = built(tmp_path, monkeypatch, body)
    assert outcome.exit_code == 1
    assert "that no build writes" in outcome.error or "than any build does" in outcome.error


def test_an_endless_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_GRACE_S", 0.5)
    monkeypatch.setattr(child, "MOST_LOG_BYTES", 1 << 20)
    outcome = built(tmp_path, monkeypatch, "while True:\n    os.write(2, b'x' * 10000); time.sleep(0.001)")
    assert outcome.exit_code == 1
    assert "printed more than" in outcome.error


@pytest.mark.parametrize("answer", [None, [], 5, {"exit_code": "0", "detail": []}, {"exit_code": 0}, {"detail": [], "other": 1}])
def test_outcomes_of_other_machines(answer: Any) -> None:
    with pytest.raises(Refused, match="is no outcome of a cell"):
        outcome_from(answer)


def test_an_outcome() -> None:
    assert outcome_from({"exit_code": 3, "error": "no", "detail": ["a"]}).detail == ("a",)


@pytest.mark.parametrize("answer", [None, {}, {"edgec": "0.0.1"}, {"edgec": 1}, [], ValueError("x" * 5000)], ids=repr)
def test_workers_with_other_answers(answer: Any, tmp_path: Path) -> None:
    lacks = list(_worker_problems(answer, tmp_path))
    assert lacks
    assert max(map(len, lacks)) <= 300
