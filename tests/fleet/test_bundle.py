"""A signed bundle on its way to a fleet whose file names the key."""

from __future__ import annotations

from pathlib import Path

from tests.device.releases import Key, as_file, signed
from tests.fleet.conftest import Said, Start, events


def test_a_bundle_says_its_version(fleet: Start, ready_root: Path, newer: Path, say: Said, tmp_path: Path) -> None:
    boards = fleet(1, ready_root)
    before = boards.current(1)
    key = Key.new(tmp_path, "release")
    bundle = as_file(signed(newer, tmp_path / "robot", key))
    toml = boards.write(tmp_path / "FLEET.toml", trust=["release.pub"])
    code, out, err = say("deploy", bundle, toml)
    assert code == 0, err
    assert "1 of 1 boards have robot 1.4.0" in out
    assert say("fleet", "status", toml)[1].splitlines()[1].split()[:3] == ["r1", "robot", "1.4.0"]
    # The next version of the same artefact is another release, and an older one is refused by the board.
    older = as_file(signed(newer, tmp_path / "older", key, "1.3.0"))
    code, out, err = say("deploy", older, toml, "--json")
    assert code == 21
    assert events(out, "board")[0]["exit_code"] == 20
    code, _, err = say("fleet", "rollback", toml)
    assert code == 0, err
    assert boards.current(1) == before
