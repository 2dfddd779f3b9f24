"""`edgec calibration extend`: new frames beside a set's own, without repetitions, and where they came from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgec.cli import run
from edgec.frames import load, split
from edgec.frames.manifest import read
from edgec.onboard.ring import Ring
from tests.frames.conftest import MakePicture, scene

Say = Callable[..., dict]
LETTERS = "abcdefghijklmnopqr"


@pytest.fixture
def base(picture: MakePicture, tmp_path: Path) -> Path:
    for number, letter in enumerate(LETTERS):
        picture(f"yard/{letter}.png", number)
    return tmp_path / "yard"


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    """r1: two that are new, one of the yard a little brighter, one that repeats the first; r2: one that is new."""
    folder = tmp_path / "fetched"
    brighter = np.clip(scene(3).astype(int) + 6, 0, 255).astype(np.uint8)
    kept = {"r1": [scene(100), scene(101), brighter, scene(100)], "r2": [scene(102)]}
    for board, frames in kept.items():
        ring = Ring(folder / board, "0123456789abcdef0")
        for number, frame in enumerate(frames):
            ring.add(frame, 1.5 + number)
        ring.close()
    return folder


@pytest.fixture
def extend(fetched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    def command(reference: str | Path, name: str = "more.toml", folder: Path = fetched) -> dict:
        assert run(["calibration", "extend", str(reference), str(folder), "-o", str(tmp_path / name), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return command


def names(result: dict) -> list[str]:
    return [each["frame"].split("/")[0] for each in result["added"]]


def test_a_folder_with_more_frames(base: Path, fetched: Path, extend: Say, tmp_path: Path) -> None:
    (fetched / "r2" / "broken.png").write_bytes(b"no picture")
    (fetched / "mine.png").write_bytes((base / "a.png").read_bytes())
    Image.fromarray(scene(103)).save(fetched / "other.png")
    result = extend(base)
    assert (result["frames_before"], result["frames"], sorted(names(result))) == (18, 22, ["other.png", "r1", "r1", "r2"])
    reasons = {each["frame"]: each["reason"] for each in result["left_out"]}
    first, _, brighter, again = sorted((fetched / "r1").glob("*.png"))
    assert reasons[f"r1/{brighter.name}"] == "nearly repeats the set's d.png"
    assert reasons[f"r1/{again.name}"] == f"is r1/{first.name}"
    assert reasons["mine.png"] == "is the set's a.png"
    assert "not a picture" in reasons["r2/broken.png"]
    assert [each["kept"] and each["kept"]["score"] for each in result["added"] if "r1" in each["frame"]] == [1.5, 2.5]

    text = (tmp_path / "more.toml").read_text()
    assert "# 2 frames, drift 1.50 to 2.50\n# by the artefact with build key 0123456789abcdef\n# 20" in text
    assert "# 1 frame; no robot says where they are from." in text
    frames = load(str(tmp_path / "more.toml"))
    assert len(frames.frames) == 22
    assert len(split(frames).calibration) >= 6
    again_named = [source.title for source in read(tmp_path / "more.toml").sources]
    assert again_named == ["yard", *(f"{name}, unlike the calibration frames" for name in ("fetched", "r1", "r2"))]


def test_a_manifest_keeps_what_it_says(base: Path, fetched: Path, extend: Say, picture: MakePicture, tmp_path: Path) -> None:
    for number in range(4):
        picture(f"evening/{number}{LETTERS[number]}.png", 50 + number)
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "yard.toml").write_text(
        'name = "yard"\nseed = 4\ncrop = "pad"\nsha256 = ""\n[split]\nsources = ["../evening"]\n'
        '[[sources]]\npath = "../yard/*.png"\nname = "day"\nevery = 3\n[[sources]]\npath = "../evening"\n'
    )
    before = load(str(tmp_path / "sets" / "yard.toml"))
    result = extend(tmp_path / "sets" / "yard.toml")
    after = load(str(tmp_path / "more.toml"))
    assert result["frames"] == len(after.frames) == len(before.frames) + 3
    assert [frame.digest for frame in after.frames[: len(before.frames)]] == [frame.digest for frame in before.frames]
    assert {frame.crop for frame in after.frames} == {"pad"}
    assert after.seed == 4
    sides = {frame.side for frame in after.frames[len(before.frames) :]}
    assert sides == {"calibration"}
    assert sum(frame.side == "validation" for frame in after.frames) == 4

    # Once more: what is in it already is not new, and sources of one name are told apart.
    ring = Ring(fetched / "r1", "89ab")
    ring.add(scene(200), 3.0)
    ring.close()
    more = extend(tmp_path / "more.toml", "most.toml")
    assert (names(more), more["frames"]) == (["r1"], len(after.frames) + 1)
    titles = [source.title for source in read(tmp_path / "most.toml").sources]
    assert titles[-1] == "r1, unlike the calibration frames (2)"


def test_a_known_view_in_new_light_is_added_where_that_is_asked_for(
    base: Path, fetched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "more.toml"
    words = ["calibration", "extend", str(base), str(fetched), "-o", str(output), "--repeats", "exact", "--json"]
    assert run(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert (len(result["added"]), result["frames"]) == (4, 22)
    (left_out,) = result["left_out"]
    assert left_out["reason"] == f"is {result['added'][0]['frame']}"


def test_lists_and_shipped_sets(base: Path, extend: Say, tmp_path: Path) -> None:
    (tmp_path / "yard.txt").write_text(
        "# some\n" + "".join(f"yard/{letter}.png\n" for letter in LETTERS[:10]) + "yard/none.png\n"
    )
    assert extend(tmp_path / "yard.txt")["frames"] == 10 + 3
    assert extend("demo", "demo.toml")["frames"] > 30


def test_what_cannot_be_extended(base: Path, fetched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there.toml").touch()
    for code, said, words in (
        (2, "exists already", (base, fetched, "-o", tmp_path / "there.toml")),
        (2, "not a manifest's name", (base, fetched, "-o", tmp_path / "folder")),
        (2, "there is no folder", (base, fetched, "-o", tmp_path / "no" / "x.toml")),
        (4, "Noise cannot be extended", ("random:8", fetched, "-o", tmp_path / "x.toml")),
        (4, "None of the frames", (base, base, "-o", tmp_path / "x.toml")),
        (4, "There is no calibration set", (base, tmp_path / "none", "-o", tmp_path / "x.toml")),
    ):
        assert run(["calibration", "extend", *map(str, words)]) == code
        assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x.toml").exists()
    assert run(["calibration", "extend", str(base), str(fetched), "-o", str(tmp_path / "x.toml")]) == 0
    printed = capsys.readouterr().out
    assert "21 frames, 3 of them new" in printed
    assert "r1, unlike the calibration frames: 2 frames, drift 1.50 to 2.50" in printed
    assert "2 left out" in printed
