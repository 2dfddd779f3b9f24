from __future__ import annotations

import json

import pytest
from PIL import Image

from edgec.cli import run
from tests.frames.conftest import scene
from tests.support.bags import TOPIC, film, write_bag


@pytest.fixture
def folder(picture, tmp_path):
    for number in range(36):
        picture(f"set/photo{'abcdefghijklmnopqrstuvwxyz'[number % 26] * (1 + number // 26)}.jpg", number, 240, 320)
    return tmp_path / "set"


def test_lint_prints_its_findings(folder, capsys):
    (folder / "broken.jpg").write_text("hello")
    assert run(["calibration", "lint", str(folder), "--input-size", "224"]) == 0
    printed = capsys.readouterr().out
    assert "36 usable frames from 36 sources" in printed
    assert "broken.jpg: not a picture" in " ".join(printed.split())
    assert "0 errors, 1 warning" in printed


def test_lint_prints_json(folder, capsys):
    assert run(["calibration", "lint", str(folder), "--input-size", "480x640", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["usable"] == 36
    assert len(result["sha256"]) == 64
    assert [finding["level"] for finding in result["findings"] if finding["check"] == "size"] == ["warning"]


def test_an_error_is_exit_code_4(capsys):
    assert run(["calibration", "lint", "random:20"]) == 4
    assert run(["calibration", "lint", "nowhere"]) == 4
    assert "There is no calibration set 'nowhere'" in capsys.readouterr().err


def test_show_prints_a_summary_and_draws_the_sheet(folder, tmp_path, capsys):
    (folder / "broken.jpg").write_text("hello")
    cut = folder / "photoa.jpg"
    cut.write_bytes(cut.read_bytes()[:1500])
    assert run(["calibration", "show", str(folder), "-o", str(tmp_path / "sheet.png")]) == 0
    printed = capsys.readouterr().out
    assert "27 calibration, 8 validation" in printed
    assert "240x320 (35)" in printed
    assert "2 damaged" in printed
    assert "36 frames drawn on" in printed
    with Image.open(tmp_path / "sheet.png") as sheet:
        colours = {colour for _, colour in sheet.getcolors(1 << 24)}
    assert {(70, 140, 230), (245, 160, 40), (220, 60, 60)} <= colours
    assert not list(tmp_path.glob(".edgec-*"))


def test_show_goes_on_with_too_few_frames(picture, tmp_path, capsys):
    picture("set/a.png")
    assert run(["calibration", "show", str(tmp_path / "set"), "-o", str(tmp_path / "sheet.jpg")]) == 0
    assert "1 usable frames; a build needs at least 8" in capsys.readouterr().out
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.format == "JPEG"


def test_show_and_lint_count_by_one_rule(picture, tmp_path, capsys):
    """A picture that shows again what another does, and one that is cut short, are no usable frames to either."""
    for seed, name in enumerate(["a.png", "b.png", "c.png"]):
        picture(f"set/{name}", seed)
    (tmp_path / "set" / "again.png").write_bytes((tmp_path / "set" / "a.png").read_bytes())
    cut = tmp_path / "set" / "c.png"
    cut.write_bytes(cut.read_bytes()[:300])
    assert run(["calibration", "show", str(tmp_path / "set")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert run(["calibration", "lint", str(tmp_path / "set")]) == 4
    linted = " ".join(capsys.readouterr().out.split())
    assert "2 usable from 2 sources, 1 damaged, 1 the same picture as another" in shown
    assert "2 usable frames from 2 sources; no build can use them" in linted
    assert all("2 usable frames; a build needs at least 8" in text for text in (shown, linted))


@pytest.mark.parametrize("name", ["sheet.gif", "nowhere/sheet.png"])
def test_a_sheet_that_cannot_be_written_is_one_clear_error(folder, tmp_path, capsys, name):
    assert run(["calibration", "show", str(folder), "-o", str(tmp_path / name)]) == 4
    assert "sheet" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


@pytest.fixture
def bag(tmp_path):
    pytest.importorskip("rosbags", reason="rosbags is not installed: pip install edgec[ros]")
    cameras = (TOPIC, "/rear/image_raw")
    messages = [message for topic in cameras for message in film([scene(seed) for seed in range(24)], topic=topic)]
    return write_bag(tmp_path / "walk.bag", messages)


def test_show_says_what_of_a_bag_is_used(bag, capsys):
    assert run(["calibration", "show", str(bag)]) == 4
    assert "/rear/image_raw: sensor_msgs/Image, 24 messages" in capsys.readouterr().err
    assert run(["calibration", "show", str(bag), "--topic", TOPIC]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"walk.bag{TOPIC}: 24 of 24 messages, 2025-10-09 08:53:20 UTC and 23.0 s on, sha256" in printed
    assert "17 calibration, 6 validation" in printed


def test_lint_takes_bags_and_refuses_options_that_nothing_uses(bag, folder, capsys):
    assert run(["calibration", "lint", str(bag), "--topic", TOPIC, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["usable"] == 24
    assert run(["calibration", "lint", str(folder), "--topic", TOPIC]) == 2
    assert "--topic names a bag's topic, and no bag is used" in capsys.readouterr().err
    assert run(["calibration", "lint", str(folder), "--raw-format", "nv12"]) == 2
    assert "it states no size: write it as nv12,width=640,height=480" in " ".join(capsys.readouterr().err.split())
