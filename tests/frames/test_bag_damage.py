"""Bags that were cut off or damaged: what can be read is used and said, and nothing else is made up."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from edgec.errors import CalibrationError
from edgec.frames import FrameSet, load
from tests.frames.conftest import scene
from tests.support.bags import BEGIN_NS, SECOND_NS, TOPIC, film, storage_of, write_bag

pytest.importorskip("rosbags", reason="rosbags is not installed: pip install edgec[ros]")

COUNT = 24
KINDS = [("ros1", ""), ("ros1", "lz4"), ("db3", ""), ("mcap", ""), ("mcap", "storage"), ("mcap", "message")]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """0.2 MB each, so that a chunk of a bag holds a few."""
    return [scene(seed, 240, 320) for seed in range(COUNT)]


def storage(folder: Path, pictures: list[np.ndarray], kind: str, compression: str = "") -> Path:
    """The storage file of a bag, which others may damage."""
    path = write_bag(folder / ("walk.bag" if kind == "ros1" else "walk"), film(pictures), kind, compression)  # type: ignore[arg-type]
    return path if kind == "ros1" else storage_of(path)


def numbers(loaded: FrameSet) -> list[int]:
    """Of the frames in the film, by their times."""
    return [(frame.order - BEGIN_NS) // SECOND_NS for frame in loaded.frames]


def assert_unchanged(loaded: FrameSet, pictures: list[np.ndarray]) -> None:
    for frame, number in zip(loaded.frames, numbers(loaded), strict=True):
        assert np.array_equal(frame.read(), pictures[number])


@pytest.mark.parametrize(("kind", "compression"), KINDS)
def test_of_a_bag_that_was_cut_off_its_beginning_is_read(tmp_path, pictures, kind, compression):
    path = storage(tmp_path, pictures, kind, compression)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    loaded = load(str(path))
    count = len(loaded.frames)
    assert 8 <= count <= 15
    assert numbers(loaded) == list(range(count))
    assert_unchanged(loaded, pictures)
    (note,) = loaded.notes
    assert note.startswith(f"{path.name} is cut short or damaged (")
    assert note.endswith(f"what can be read is used: {count} messages of {TOPIC} over {count - 1:.1f} s")


@pytest.mark.parametrize("kind", ["db3", "mcap"])
@pytest.mark.parametrize("metadata", ["there", "lost"])
def test_a_folder_with_a_file_that_was_cut_off_is_read(tmp_path, pictures, kind, metadata):
    path = storage(tmp_path, pictures, kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    if metadata == "lost":
        (path.parent / "metadata.yaml").unlink()
    loaded = load(str(path.parent))
    assert len(loaded.frames) >= 8
    assert_unchanged(loaded, pictures)
    assert "what can be read is used" in loaded.notes[0]
    assert loaded.frames[0].source == f"{'walk' if metadata == 'there' else path.name}{TOPIC}"


def test_zeros_at_the_end_are_no_frames(tmp_path, pictures):
    """What a file system leaves that had promised room, but never wrote."""
    path = storage(tmp_path, pictures, "mcap", "storage")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10] + bytes(len(data) * 4 // 10))
    loaded = load(str(path))
    assert len(loaded.frames) >= 8
    assert_unchanged(loaded, pictures)


def test_a_ros1_bag_without_an_index_is_read(tmp_path, pictures):
    """A `.bag.active`: the recording was not ended, so no list of chunks was written, and the header points nowhere."""
    path = storage(tmp_path, pictures, "ros1")
    data = bytearray(path.read_bytes())
    place = data.index(b"index_pos=") + len(b"index_pos=")
    (index,) = struct.unpack_from("<Q", data, place)
    struct.pack_into("<Q", data, place, 0)
    path.write_bytes(data[:index])
    loaded = load(str(path))
    assert numbers(loaded) == list(range(COUNT))
    assert_unchanged(loaded, pictures)
    assert "not indexed" in loaded.notes[0]


def damage(path: Path, share: float, pattern: bytes, length: int) -> None:
    data = bytearray(path.read_bytes())
    start = int(len(data) * share)
    data[start : start + length] = (pattern * length)[:length]
    path.write_bytes(data)


def test_a_page_of_sqlite_that_is_damaged_costs_its_messages_alone(tmp_path, pictures):
    path = storage(tmp_path, pictures, "db3")
    damage(path, 0.5, b"\x55", 5000)
    loaded = load(str(path.parent))
    assert len(loaded.frames) >= COUNT - 3
    assert_unchanged(loaded, pictures)
    assert any("messages cannot be read" in reason for _, reason in loaded.skipped)


def test_a_chunk_that_is_damaged_costs_its_messages_alone(tmp_path, pictures):
    """bz2 and lz4 notice; the writer of MCAP here writes no checksums, but rosbag2's does."""
    path = storage(tmp_path, pictures, "ros1", "bz2")
    data = path.read_bytes()
    second = data.index(b"BZh", data.index(b"BZh") + 3)
    path.write_bytes(data[: second + 40] + b"\x55" * 200 + data[second + 240 :])
    loaded = load(str(path))
    assert len(loaded.frames) >= COUNT // 2
    assert numbers(loaded)[-1] == COUNT - 1
    assert_unchanged(loaded, pictures)
    ((name, reason),) = loaded.skipped
    assert name == f"walk.bag{TOPIC}"
    assert "s, messages cannot be read (" in reason


def test_damage_between_the_chunks_of_ros1_costs_one(tmp_path, pictures):
    path = storage(tmp_path, pictures, "ros1")
    data = path.read_bytes()
    place = data.index(b"op=\x05", len(data) // 2)
    path.write_bytes(data[: place - 100] + b"\x55" * 300 + data[place + 200 :])
    loaded = load(str(path))
    assert numbers(loaded)[-1] == COUNT - 1
    assert len(loaded.frames) >= COUNT - 11
    assert_unchanged(loaded, pictures)
    assert "what can be read is used" in loaded.notes[0]


def test_a_log_of_sqlite_beside_the_bag_is_named(tmp_path, pictures):
    path = storage(tmp_path, pictures[:9], "db3")
    path.with_name(f"{path.name}-wal").write_bytes(b"what was recorded last")
    (note,) = load(str(path)).notes
    assert "walk.db3-wal" in note
    assert "sqlite3 walk.db3 'PRAGMA wal_checkpoint(TRUNCATE)'" in note


GARBAGE = {
    "empty": b"",
    "text": b"nothing like a bag" * 100,
    "magic": b"\x89MCAP0\r\n#ROSBAG V2.0\nSQLite format 3\0" + bytes(9000),
}


@pytest.mark.parametrize("content", GARBAGE)
@pytest.mark.parametrize("name", ["a.bag", "a.mcap", "a.db3"])
def test_what_is_no_bag_is_one_clear_error(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(GARBAGE[content])
    with pytest.raises(CalibrationError) as caught:
        load(str(path))
    assert caught.value.what == f"No frame can be read from {name}."
    assert caught.value.evidence[0].startswith("cannot be read as a bag: ")
    assert "record again" in caught.value.remedy


@pytest.mark.parametrize("kind", ["ros1", "db3", "mcap"])
def test_a_bag_that_is_cut_off_anywhere_or_damaged_anywhere_raises_nothing_else(tmp_path, pictures, kind):
    whole = storage(tmp_path, pictures[:6], kind).read_bytes()
    path = tmp_path / f"cut.{'bag' if kind == 'ros1' else kind}"
    draw = np.random.default_rng(1)
    for _ in range(12):
        data = bytearray(whole[: draw.integers(1, len(whole))] if draw.random() < 0.5 else whole)
        for place in draw.integers(0, min(len(data), 20_000), 8):
            data[place] = draw.integers(0, 256)
        path.write_bytes(data)
        try:
            load(str(path))
        except CalibrationError as error:
            assert error.evidence  # noqa: PT017 - either outcome is right
