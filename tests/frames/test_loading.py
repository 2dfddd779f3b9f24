from __future__ import annotations

import shutil

import numpy as np
import pytest

from edgec.errors import CalibrationError
from edgec.frames import load, split


def names(frameset):
    return [frame.name for frame in frameset.frames]


def test_a_folder_is_searched_whole_and_in_natural_order(picture, tmp_path):
    for name in ("set/b10.png", "set/b9.png", "set/a.JPEG", "set/sub/c.ppm", "set/.hidden.png", "set/.git/d.png"):
        picture(name)
    (tmp_path / "set" / "notes.md").write_text("not a picture")
    assert names(load(str(tmp_path / "set"))) == ["a.JPEG", "b9.png", "b10.png", "sub/c.ppm"]


def test_pictures_numbered_alike_are_one_cameras(picture, tmp_path):
    for name in ("front_0009.png", "front_0010.png", "rear_0009.png", "front_0009_left.png", "front_0011_left.png", "photo.png"):
        picture(f"set/{name}")
    sources = {frame.name: (frame.source, frame.order) for frame in load(str(tmp_path / "set")).frames}
    assert sources["front_0009.png"] == ("front_*.png", 9)
    assert sources["front_0010.png"] == ("front_*.png", 10)
    assert sources["front_0011_left.png"] == ("front_*_left.png", 11)
    assert sources["rear_0009.png"] == ("rear_0009.png", 0)
    assert sources["photo.png"] == ("photo.png", 0)


def test_the_same_numbers_in_two_folders_are_two_cameras(picture, tmp_path):
    for name in ("one/1.png", "one/2.png", "two/1.png", "two/2.png"):
        picture(f"set/{name}")
    assert {frame.source for frame in load(str(tmp_path / "set")).frames} == {"one/*.png", "two/*.png"}


def test_the_hash_follows_names_and_bytes_and_not_the_place(picture, tmp_path):
    for number in range(4):
        picture(f"set/{number}.png", number)
    before = load(str(tmp_path / "set"))
    shutil.copytree(tmp_path / "set", tmp_path / "elsewhere" / "moved")
    moved = load(str(tmp_path / "elsewhere" / "moved"))
    assert moved.sha256 == before.sha256
    assert [frame.digest for frame in moved.frames] == [frame.digest for frame in before.frames]
    (tmp_path / "set" / "3.png").rename(tmp_path / "set" / "4.png")
    renamed = load(str(tmp_path / "set")).sha256
    picture("set/4.png", 99)
    assert len({before.sha256, renamed, load(str(tmp_path / "set")).sha256}) == 3


def test_damaged_files_are_skipped_by_name(picture, tmp_path):
    picture("set/good.png")
    (tmp_path / "set" / "text.jpg").write_text("hello")
    (tmp_path / "set" / "empty.png").touch()
    (tmp_path / "set" / "link.jpg").symlink_to("nowhere.jpg")
    loaded = load(str(tmp_path / "set"))
    assert names(loaded) == ["good.png"]
    assert {name for name, _ in loaded.skipped} == {"text.jpg", "empty.png", "link.jpg"}


def test_reading_a_frame_decodes_it(picture, pixels, tmp_path):
    picture("set/a.png", 5)
    (frame,) = load(str(tmp_path / "set")).frames
    assert np.array_equal(frame.read(), pixels(5))


def test_links_are_followed_inside_the_folder_alone_and_loops_end(picture, tmp_path):
    picture("other/b.png")
    picture("set/a.png")
    picture("set/.data/c.png", 1)
    (tmp_path / "set" / "outside").symlink_to(tmp_path / "other")
    (tmp_path / "set" / "root").symlink_to("/")
    (tmp_path / "set" / "again").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "inside").symlink_to(tmp_path / "set" / ".data")
    (tmp_path / "set" / "twice").symlink_to(tmp_path / "set" / ".data")
    (tmp_path / "set" / "one.png").symlink_to(tmp_path / "other" / "b.png")  # as caches of downloads have them
    loaded = load(str(tmp_path / "set"))
    assert names(loaded) == ["a.png", "inside/c.png", "one.png"]
    assert loaded.notes == ("2 linked folders were left out: the link leads out of the folder that was given",)
    (tmp_path / "link").symlink_to(tmp_path / "set")
    assert names(load(str(tmp_path / "link"))) == ["a.png", "inside/c.png", "one.png"]


def test_a_list_keeps_its_order_and_names_what_is_missing(picture, tmp_path):
    for name in ("pictures/b.png", "pictures/a.png", "folder/c.png"):
        picture(name)
    listed = tmp_path / "list.txt"
    listed.write_text(
        "\ufeff# the yard\npictures/b.png\n\npictures/a.png\nfolder\npictures/gone.png\npictures/a.png\nlist.txt\nnowhere\n",
        encoding="utf-8",
    )
    loaded = load(str(listed))
    assert names(loaded) == ["pictures/b.png", "pictures/a.png", "folder/c.png"]
    assert dict(loaded.skipped) == {
        "pictures/gone.png": "no such file or directory",
        "pictures/a.png": "listed twice",
        "list.txt": "neither a picture nor a video nor a bag, by its suffix",
        "nowhere": "no such file or directory",
    }


def test_a_list_and_a_folder_agree_wherever_they_lie(picture, tmp_path):
    for number in range(3):
        picture(f"set/{number}.png", number)
    (tmp_path / "set" / "list.txt").write_text("0.png\n1.png\n2.png\n")
    assert load(str(tmp_path / "set" / "list.txt")).sha256 == load(str(tmp_path / "set")).sha256


def test_random_frames_are_seeded_textured_and_marked():
    loaded = load("random:9")
    assert loaded.random
    assert len(loaded.frames) == 9
    assert load("random:9").sha256 == loaded.sha256 != load("random:10").sha256
    first, second = loaded.frames[0].read(), loaded.frames[1].read()
    assert np.array_equal(first, load("random").frames[0].read())
    assert not np.array_equal(first, second)
    small = first[::8, ::8].astype(float)
    assert 40 < small.std() < 80
    assert len(split(loaded).calibration) == 7


@pytest.mark.parametrize("reference", ["random:", "random:0", "random:-3", "random:many", "random:1000000"])
def test_random_needs_a_count(reference):
    with pytest.raises(CalibrationError, match="not a set of random frames"):
        load(reference)


def test_shipped_names_win_over_folders_here(picture, tmp_path, monkeypatch):
    picture("demo/a.png")
    monkeypatch.chdir(tmp_path)
    assert len(load("demo").frames) > 8
    assert names(load("./demo")) == ["a.png"]


def test_no_set_is_one_clear_error(picture, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_text("hello")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file.bin").write_bytes(b"\0")
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\xff")
    for reference, what in (
        ("nowhere", "There is no calibration set"),
        ("loop", "calibration set"),
        ("x" * 5000, "cannot be opened"),
        ("empty", "no usable frame"),
        ("broken", "no usable frame"),
        ("file.bin", "is not a calibration set"),
        ("list.txt", "cannot be read"),
    ):
        with pytest.raises(CalibrationError, match=what):
            load(str(tmp_path / reference))
    with pytest.raises(CalibrationError) as caught:
        load(str(tmp_path / "broken"))
    assert "a.jpg: not a picture" in str(caught.value)


def test_the_shared_set_is_two_kinds_of_sources(data):
    loaded = load(str(data / "calibration"))
    assert len(loaded.frames) == 101
    assert not loaded.skipped
    camera = [frame for frame in loaded.frames if frame.source == "vtest_*.jpg"]
    assert [frame.order for frame in camera] == list(range(0, 480, 8))
    parts = split(loaded)
    last = max(frame.order for frame in parts.calibration if frame.source == "vtest_*.jpg")
    assert all(frame.order > last + 8 for frame in parts.validation if frame.source == "vtest_*.jpg")
