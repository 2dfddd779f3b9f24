"""`edgec fleet status`: a table of boards in every state."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.boards.loopback import NAME
from tests.fleet.conftest import Said, Start


def test_boards_in_every_state(fleet: Start, older_root: Path, say: Said, tmp_path: Path) -> None:
    boards = fleet(5, older_root)
    toml = boards.write(tmp_path / "FLEET.toml")
    engine = boards.current(1)
    assert engine is not None
    boards.cut(2)
    shutil.rmtree(boards.root(3))
    with (boards.root(4) / NAME / "engines" / engine / "engine.plan").open("ab") as file:
        file.write(b"!")
    # It greets as a board does, and then ends.
    (boards.folder / "bin5").mkdir()
    python = boards.folder / "bin5" / "python3"
    python.write_text("#!/bin/sh\necho edgec-board 3 8 0\nexec head -c 1\n")
    python.chmod(0o755)
    boards.told(5, PATH=f"{python.parent}:/usr/bin:/bin")
    code, out, err = say("fleet", "status", toml)
    assert code == 0, err
    heading, *lines = out.splitlines()
    assert heading.split() == ["board", "runs", "variant", "since", "verified", "p50", "ms", "free", "GB", "remark"]
    rows = {line.split()[0]: line for line in lines}
    assert "small-jetson-64x96 abababab  int8" in rows["r1"]
    assert "2 frames, simulated on host" in rows["r1"]
    assert "no answer" in rows["r2"]
    assert "r2 does not let this user in." in rows["r2"]
    assert rows["r3"].split()[1] == "nothing"
    assert "CHANGED since it was verified" in rows["r4"]
    assert "no answer" in rows["r5"]

    code, out, err = say("fleet", "status", toml, "--json", "--tag", "odd", "--board", "r1", "--board", "r2")
    assert code == 0, err
    (row,) = json.loads(out)
    (active,) = row["active"]
    assert (row["board"], active["engine"], active["previous"]) == ("r1", engine, None)
    assert row["disk_free_bytes"] > 0
    code, out, err = say("fleet", "status", toml, "--json", "--board", "r2")
    (row,) = json.loads(out)
    assert (code, row["exit_code"]) == (0, 16)
    assert say("fleet", "status", toml, "--board", "r9")[0] == 2


def test_nothing_to_go_back_to(fleet: Start, older_root: Path, say: Said, tmp_path: Path) -> None:
    boards = fleet(2, older_root)
    shutil.rmtree(boards.root(2))
    toml = boards.write(tmp_path / "FLEET.toml")
    code, _, err = say("fleet", "rollback", toml)
    assert code == 14
    assert "r1: There is nothing to roll back to." in err
    assert "r2: Nothing is active there." in err
