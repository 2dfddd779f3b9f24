"""`edgec fleet fetch-frames`: frames come home whole, once, and leave a board only where somebody says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgec.onboard.ring import Ring
from tests.fleet.conftest import Said, Start
from tests.fleet.loopback import LoopbackFleet


def keep(folder: Path, *seeds: int) -> list[Path]:
    ring = Ring(folder, "0123abcd")
    frames = [np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8) for seed in seeds]
    paths = [ring.add(frame, 2.5, f"camera {seed}") for frame, seed in zip(frames, seeds, strict=True)]
    ring.close()
    return paths


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".png"}


@pytest.fixture
def boards(fleet: Start) -> LoopbackFleet:
    """r1 has three frames, r2 none, r3 two in another folder; nobody gets into r4."""
    started = fleet(4)
    keep(started.root(1) / "drift-frames", 1, 2, 3)
    keep(started.home(3) / "seen", 4, 5)
    started.cut(4)
    return started


def test_frames_come_home_once(boards: LoopbackFleet, say: Said, tmp_path: Path) -> None:
    toml, home = boards.write(tmp_path / "FLEET.toml"), tmp_path / "home"
    there = boards.root(1) / "drift-frames"
    code, out, err = say("fleet", "fetch-frames", toml, "-o", home)
    assert (code, "r4 does not let this user in" in err) == (16, True)
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert rows["r1"] == ["3", "3", "0.0", "0"]
    assert "no frames are kept there" in out
    assert contents(home / "r1") == contents(there)
    lines = [json.loads(path.read_text()) for path in sorted((home / "r1").glob("*.json"))]
    assert lines == [json.loads(path.read_text()) for path in sorted(there.glob("*.json"))]
    assert {path.name for path in home.iterdir()} == {"r1"}

    # It broke off, a frame came, and one there is not what was written.
    before = contents(there)
    min((home / "r1").glob("*.png")).unlink()
    (new,) = keep(there, 6)
    (damaged,) = keep(there, 7)
    damaged.write_bytes(damaged.read_bytes()[:-9] + bytes(9))
    named = ("--board", "r1", "--json")
    code, out, err = say("fleet", "fetch-frames", toml, "-o", home, *named, "--remove")
    assert code == 0, err
    (row,) = json.loads(out)
    assert (row["there"], row["new"], row["differing"], row["removed"]) == (5, 2, [damaged.name], 4)
    assert contents(home / "r1") == {**before, new.name: (home / "r1" / new.name).read_bytes()}
    assert set(contents(there)) == {damaged.name}
    assert {path.suffix for path in there.iterdir()} == {".png", ".json", ""}
    code, out, _ = say("fleet", "fetch-frames", toml, "-o", home, "--board", "r1")
    assert (code, "1 are not what their lines say, and stay there" in " ".join(out.split())) == (0, True)


def test_another_folder_and_what_is_no_frame(boards: LoopbackFleet, say: Said, tmp_path: Path) -> None:
    """Lines come from anywhere: names that lead elsewhere, and what is no line."""
    toml, home, there = boards.write(tmp_path / "FLEET.toml"), tmp_path / "home", boards.home(3) / "seen"
    one, other = sorted(there.glob("*.json"))
    one.write_text(json.dumps({**json.loads(one.read_text()), "file": "../../frame-1.png"}))
    (there / "mine.png").touch()
    code, out, err = say("fleet", "fetch-frames", toml, "-o", home, "--board", "r3", "--from", "~/seen", "--remove", "--json")
    assert code == 0, err
    (row,) = json.loads(out)
    assert (row["there"], row["new"], row["unusable"], row["removed"]) == (1, 1, 1, 1)
    assert {path.name for path in (home / "r3").iterdir()} == {other.name, other.with_suffix(".png").name}
    assert {path.name for path in there.iterdir()} == {"mine.png", ".lock", one.name, one.with_suffix(".png").name}
    (tmp_path / "file").touch()
    code, _, err = say("fleet", "fetch-frames", toml, "-o", tmp_path / "file", "--board", "r1")
    assert (code, "cannot be written" in err) == (1, True)
