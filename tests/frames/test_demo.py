"""The set that ships: small, licensed, and good enough to build with."""

from __future__ import annotations

import re

from edgec.frames import load, split
from edgec.frames.lint import lint
from edgec.model.spec import Size
from edgec.resources import room


def test_it_splits_as_its_manifest_says():
    parts = split(load("demo"))
    assert (len(parts.calibration), len(parts.validation)) == (29, 9)
    places = {frame.name.split("/")[1].split("_")[0].removesuffix(".jpg") for frame in parts.validation}
    assert places == {"hall", "lobby", "venice", "workshop", "chelsea", "coffee"}


def test_it_passes_its_own_lint():
    result = lint(load("demo"), size=Size(224, 224))
    assert [finding for finding in result.findings if finding.level != "note"] == []


def test_it_is_small_and_large_enough():
    files = list((room("calibration") / "demo").glob("*.jpg"))
    assert 24 <= len(files) <= 40
    assert sum(file.stat().st_size for file in files) <= 3_000_000
    assert all(min(frame.read().shape[:2]) >= 256 for frame in load("demo").frames)


def test_every_picture_has_its_source_and_a_free_licence():
    folder = room("calibration") / "demo"
    rows = re.findall(r"^\| `([^`]+)` \|.*\| (.+?) \|$", (folder / "SOURCES.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for name, _ in rows} == {file.name for file in folder.glob("*.jpg")}
    assert all(licence == "CC0" or licence.startswith("public domain") for _, licence in rows)
    assert {frame.name.removeprefix("demo/") for frame in load("demo").frames} == {name for name, _ in rows}
