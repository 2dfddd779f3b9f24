"""Releases to several boards in waves, over a real OpenSSH server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.device.robot import check_whole
from tests.fleet.conftest import Said, Start


def events(out: str, kind: str) -> list[dict[str, Any]]:
    parsed = [json.loads(line) for line in out.splitlines()]
    return [event for event in parsed if event["event"] == kind]


def test_waves_reach_all_boards_and_the_canary_first(fleet: Start, older_root: Path, work: Path, say: Said, tmp_path: Path) -> None:
    boards = fleet(3, older_root)
    before = boards.current(1)
    toml = boards.write(tmp_path / "FLEET.toml")
    code, out, err = say("deploy", work, toml, "--wave", "1,100%", "--json")
    assert code == 0, err
    assert [wave["boards"] for wave in events(out, "wave")] == [["r1"], ["r2", "r3"]]
    ended = {event["board"]: event for event in events(out, "board")}
    assert {event["state"] for event in ended.values()} == {"done"}
    assert ended["r1"]["before"] == before
    assert ended["r1"]["left_out"] == ["latency is not compared: the bundle has no measured latency of int8"]
    assert events(out, "end")[0]["status"] == "finished"
    for number in (1, 2, 3):
        assert boards.current(number) != before
        check_whole(boards.robot(number, work))
    code, out, err = say("deploy", work, toml, "--wave", "1,100%")
    assert code == 0, err
    assert "3 of 3 boards have small-jetson-64x96 cdcdcdcd" in out
