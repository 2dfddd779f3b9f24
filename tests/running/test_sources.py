"""What SOURCE means, and that whatever is no frame is named."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from edgec.errors import CalibrationError, EdgecError, RequestError
from edgec.frames import Reading, raw
from edgec.running.camera import Camera, device_of
from edgec.running.feeds import Clocked
from edgec.running.sources import open_source
from tests.support.bags import SECOND_NS, Message, write_bag
from tests.support.bags import film as bag_film

from .conftest import BLUE, GREEN, RED, film, plain, save


def unusable(reference: Path, every: int = 1) -> dict[str, str]:
    actual = {}
    for shot in open_source(str(reference)).shots(every):
        try:
            shot.read()
        except CalibrationError as error:
            actual[shot.name] = error.evidence[0]
    return actual


def test_a_folder_in_natural_order_with_those_below_it(tmp_path: Path) -> None:
    for name in ("b 10.png", "b 9.png", "a/x.jpg", ".hidden.png", "notes.txt"):
        save(tmp_path / name, plain(RED)) if name != "notes.txt" else (tmp_path / name).write_text("x")
    source = open_source(str(tmp_path))
    assert [(shot.name, shot.number, shot.time_s) for shot in source.shots()] == [
        ("a/x.jpg", 0, None),
        ("b 9.png", 1, None),
        ("b 10.png", 2, None),
    ]
    assert (source.total, source.rate, source.waits, source.moving) == (3, None, True, False)
    assert [shot.name for shot in source.shots(2)] == ["a/x.jpg", "b 10.png"]


def test_pictures_and_videos_count_on(tmp_path: Path) -> None:
    save(tmp_path / "a.png", plain(RED))
    film(tmp_path / "b.mkv", [plain(GREEN)] * 3)
    save(tmp_path / "c.png", plain(BLUE))
    source = open_source(str(tmp_path))
    assert [(shot.name, shot.number) for shot in source.shots()] == [
        *(("a.png", 0), ("b.mkv#000000", 1), ("b.mkv#000001", 2), ("b.mkv#000002", 3), ("c.png", 4)),
    ]
    assert [shot.name for shot in source.shots(2)] == ["a.png", "b.mkv#000001", "c.png"]
    assert [tuple(shot.read()[0, 0]) for shot in source.shots(2)] == [RED, GREEN, BLUE]


def test_a_video_tells_its_rate_and_length(tmp_path: Path) -> None:
    source = open_source(str(film(tmp_path / "a.mp4", [plain(RED)] * 5, rate=25)))
    assert (source.rate, source.total, source.moving) == (25.0, 5, True)
    assert [shot.time_s for shot in source.shots(2)] == [0.0, 0.08, 0.16]


def test_a_single_picture(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", plain(BLUE, 5, 7))
    [shot] = open_source(str(path)).shots()
    assert shot.read().shape == (5, 7, 3)


def test_what_is_damaged_is_named_with_the_reason(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.jpg", plain(RED, 64, 64)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "link.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    Image.new("1", (10_000, 10_000)).save(tmp_path / "huge.png")
    actual = unusable(tmp_path)
    assert list(actual) == ["cut.jpg", "empty.png", "huge.png", "link.png", "pipe.png", "text.mp4", "text.png"]
    assert "truncated" in actual["cut.jpg"]
    assert actual["empty.png"] == "empty file"
    assert actual["pipe.png"] == "not a regular file"
    assert "larger than" in actual["huge.png"]
    assert "cannot be decoded" in actual["text.mp4"]


def test_frames_after_a_damaged_one_of_a_video_are_still_read(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuvj420p"
        for _ in range(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(plain(RED), format="rgb24")))
        container.mux(stream.encode())
    content = path.read_bytes()
    places = [place for place in range(len(content)) if content.startswith(b"\xff\xd8\xff", place)]
    assert len(places) == 6
    path.write_bytes(content[: places[2]] + bytes(places[3] - places[2] - 8) + content[places[3] - 8 :])
    source = open_source(str(path))
    assert unusable(path).keys() == {"a.avi#000002"}
    assert len(list(source.shots())) == 6


@pytest.mark.parametrize(
    ("name", "said"), [("none", "There is no source"), ("a.txt", "no source of frames"), ("folder", "no usable frame")]
)
def test_invalid_sources(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CalibrationError, match=said) as caught:
        open_source(str(tmp_path / name))
    assert "camera:0" in caught.value.remedy


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(EdgecError, match="There is no source"):
        open_source("a\0b")


@pytest.mark.parametrize(
    ("reference", "device"),
    [
        ("camera:0", "/dev/video0"),
        ("camera:12", "/dev/video12"),
        ("camera:/dev/v4l/by-id/front", "/dev/v4l/by-id/front"),
        ("/dev/video3", "/dev/video3"),
        ("/dev/null", "/dev/null"),
        ("frames/", None),
        ("video0", None),
    ],
)
def test_names_of_cameras(reference: str, device: str | None) -> None:
    assert device_of(reference) == device


def test_a_camera_that_is_not_there() -> None:
    with pytest.raises(CalibrationError, match="There is no camera /dev/video99") as caught:
        open_source("camera:99")
    assert caught.value.evidence[1].startswith("cameras here: ")
    with pytest.raises(RequestError, match="names no camera"):
        open_source("camera:front")


def test_a_device_that_is_no_camera() -> None:
    with pytest.raises(CalibrationError, match="cannot be opened: /dev/null"):
        open_source("/dev/null")


def test_a_camera_gives_frames_until_it_ends() -> None:
    """FFmpeg's test picture, through the very calls that read a camera: there is none here."""
    camera = Camera("testsrc=size=64x48:rate=30:duration=0.2", style="lavfi")
    assert (camera.rate, camera.waits, camera.total) == (30.0, False, None)
    shots = list(camera.shots(2))
    assert [(shot.name, shot.number) for shot in shots] == [(f"camera#{number:06d}", number) for number in (0, 2, 4)]
    assert [shot.time_s for shot in shots] == pytest.approx([0, 2 / 30, 4 / 30])
    assert {shot.read().shape for shot in shots} == {(48, 64, 3)}


def test_a_camera_is_released_when_the_run_ends() -> None:
    camera = Camera("testsrc=size=64x48:rate=30", style="lavfi")
    feed = Clocked(camera.shots(), lambda _: None, lambda: False, fps=None, keep=1)
    [taken] = feed.take(1)
    assert taken.arrived_ns <= time.monotonic_ns()
    feed.close()
    assert "source" not in [thread.name for thread in threading.enumerate()]


# --- bags and raw dumps


def test_a_bag_gives_all_its_messages_with_their_times(tmp_path: Path) -> None:
    pytest.importorskip("rosbags", reason="rosbags is not installed: pip install edgec[ros]")
    messages = bag_film([plain(RED), plain(GREEN), plain(BLUE)], step_ns=SECOND_NS // 4)
    messages[1] = Message({**messages[1].fields, "encoding": "16UC1"}, messages[1].time_ns)
    path = write_bag(tmp_path / "walk", messages, "mcap")
    source = open_source(str(path))
    assert (source.rate, source.total, source.moving, source.waits) == (4.0, 3, True, True)
    shots = list(source.shots())
    assert [(shot.name, shot.number, shot.time_s) for shot in shots] == [
        (f"walk/camera/image_raw#{number:06d}", number, number / 4) for number in range(3)
    ]
    assert [tuple(shots[index].read()[0, 0]) for index in (0, 2)] == [RED, BLUE]
    assert list(unusable(path)) == ["walk/camera/image_raw#000001"]
    assert [shot.number for shot in source.shots(2)] == [0, 2]
    assert open_source(str(path), Reading("/camera/image_raw")).total == 3
    save(tmp_path / "alone" / "a.png", plain(RED))
    with pytest.raises(RequestError, match="does not apply"):
        open_source(str(tmp_path / "alone"), Reading("/camera/image_raw"))
    (tmp_path / "alone" / "a.png").unlink()
    assert [shot.number for shot in open_source(str(tmp_path)).shots()] == [0, 1, 2]


def test_a_bag_that_was_cut_off_says_so(tmp_path: Path) -> None:
    pytest.importorskip("rosbags", reason="rosbags is not installed: pip install edgec[ros]")
    path = write_bag(tmp_path / "walk.bag", bag_film([plain(RED, 400, 600)] * 6))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = open_source(str(path))
    assert 0 < (source.total or 0) < 6
    assert "is cut short or damaged" in source.notes[0]
    path.write_bytes(b"no bag")
    with pytest.raises(CalibrationError, match=r"No frame can be read from .*walk\.bag"):
        open_source(str(path))


def test_a_raw_dump_has_frames_and_no_rate(tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "walk.nv12").write_bytes((bytes([126]) * 64 * 48 + bytes([128]) * 64 * 24) * 3 + b"rest")
    with pytest.raises(CalibrationError, match="is no source of frames") as caught:
        open_source(str(tmp_path / "walk.nv12"))
    assert "--raw-format" in caught.value.remedy
    source = open_source(str(tmp_path / "walk.nv12"), Reading(raw=raw.parse("nv12,width=64,height=48")))
    assert (source.rate, source.total, source.moving) == (None, 3, True)
    named = {shot.name: shot for shot in source.shots()}
    assert list(named) == ["walk.nv12#000003", *(f"walk.nv12#{number:06d}" for number in range(3))]
    assert named["walk.nv12#000002"].read()[0, 0].tolist() == [128, 128, 128]
