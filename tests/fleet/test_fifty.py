"""Fifty boards: their table, and a release on its way to them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fleet.conftest import Said, Start, events

BOARDS = 50


def test_fifty_boards(fleet: Start, ready_root: Path, work: Path, say: Said, tmp_path: Path) -> None:
    """Every board runs the real program over a connection of its own. The engines of the new release are built there already, and
    the waves end at five boards: what takes a processor's second on each is not done fifty times."""
    boards = fleet(BOARDS, ready_root)
    toml = boards.write(tmp_path / "FLEET.toml")
    before = boards.current(1)
    code, out, err = say("fleet", "status", toml, "--json")
    assert code == 0, err
    rows = json.loads(out)
    assert [row["board"] for row in rows] == [f"r{number}" for number in range(1, BOARDS + 1)]
    assert {row["active"][0]["engine"] for row in rows} == {before}
    assert {row["active"][0]["state"] for row in rows} == {"verified"}

    code, out, err = say("deploy", work, toml, "--wave", "1,4%", "--json")
    assert code == 0, err
    assert [wave["boards"] for wave in events(out, "wave")] == [["r1"], ["r2"]]
    assert events(out, "end")[0]["status"] == "open"
    code, out, err = say("deploy", work, toml, "--wave", "10%", "--json")
    assert code == 0, err
    assert [wave["boards"] for wave in events(out, "wave")] == [["r3", "r4", "r5"]]
    assert {event["state"] for event in events(out, "board")} == {"done"}
    now = [boards.current(number) for number in range(1, BOARDS + 1)]
    assert len(set(now[:5])) == 1
    assert before not in now[:5]
    assert set(now[5:]) == {before}
