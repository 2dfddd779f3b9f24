"""`edgec bench --on`: measuring again what is deployed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgec.records.consistency import read_report
from tests.boards.conftest import Said
from tests.boards.loopback import Board


@pytest.fixture
def two(boards: Callable[[str], Board], deployed_root: Path) -> list[Board]:
    """On both of them an engine is active."""
    made = [boards("one"), boards("other")]
    for board in made:
        shutil.copytree(deployed_root, board.root, symlinks=True)
    return made


def bench(artefact: Path, boards: list[Board], *more: str | Path) -> list[str]:
    on = [part for board in boards for part in ("--on", board.address)]
    return ["bench", str(artefact), *on, *boards[0].options, *map(str, more)]


def test_two_side_by_side(two: list[Board], artefact: Path, say: Said, tmp_path: Path) -> None:
    two[1].told(STANDIN_LATENCY="int8=4,fp16=3")
    code, out, err = say(bench(artefact, two, "--output", tmp_path / "again.json"))
    assert code == 0, err
    rows = [line.split() for line in out.splitlines() if line.startswith("ssh://")]
    assert [row[0] for row in rows] == [two[0].address] * 2 + [two[1].address] * 2
    assert [row[4:6] for row in rows if "(fastest)" in row] == [["int8", "(fastest)"], ["fp16", "(fastest)"]]
    assert all("simulated on host" in line for line in out.splitlines() if line.startswith("ssh://"))
    reports = [read_report(tmp_path / f"again.{board.label}.json") for board in two]
    assert [report.chosen for report in reports] == ["int8", "fp16"]


def test_a_failure_on_one_board_does_not_stop_the_other(two: list[Board], artefact: Path, say: Said) -> None:
    shutil.rmtree(two[0].root)
    code, out, err = say(bench(artefact, two, "--json"))
    assert code == 14
    absent, measured = json.loads(out)
    assert absent["exit_code"] == 14
    assert measured["report"]["chosen"] == "int8"
    assert f"edgec deploy {artefact} {two[0].address}" in err


def test_an_engine_that_fails_to_run(two: list[Board], artefact: Path, say: Said) -> None:
    two[0].told(STANDIN_FAULTS="crash-run@int8")
    code, _, err = say(bench(artefact, two[:1]))
    assert code == 10
    assert "SIGSEGV" in err


@pytest.mark.parametrize(
    ("more", "what"),
    [(["--on", "orin", "--threads", "2"], "--threads is for this machine"), (["--port", "22"], "--port is for boards")],
)
def test_options_that_do_not_apply_are_refused(artefact: Path, say: Said, more: list[str], what: str) -> None:
    code, _, err = say(["bench", str(artefact), *more])
    assert code == 2
    assert what in err
