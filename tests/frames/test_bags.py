"""Camera topics of ROS bags as frames: every format, which topic, which frames, and the same calibration as from pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgec import dependencies, extras
from edgec.errors import CalibrationError, MissingPackage, RequestError
from edgec.frames import Reading, batches, load, require_use, split
from edgec.frames.measuring import NEAR_BITS, perceptual_hash
from edgec.frames.still import by_motion, by_time
from edgec.model.spec import Size
from edgec.records.manifest import FrameSetFacts
from edgec.request import BuildRequest, resolve
from edgec.stages.assembling import _recordings
from tests.frames.conftest import scene
from tests.support.bags import BEGIN_NS, SECOND_NS, TOPIC, Message, compressed, film, storage_of, write_bag

pytest.importorskip("rosbags", reason="rosbags is not installed: pip install edgec[ros]")

COUNT = 24


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [scene(seed) for seed in range(COUNT)]


@pytest.fixture
def bag(tmp_path: Path, pictures: list[np.ndarray]) -> Path:
    return write_bag(tmp_path / "walk", film(pictures), "mcap")


# --- formats


@pytest.mark.parametrize(
    ("name", "kind", "compression"),
    [
        ("walk.bag", "ros1", ""),
        ("walk.bag", "ros1", "bz2"),
        ("walk.bag", "ros1", "lz4"),
        *(("walk", kind, compression) for kind in ("db3", "mcap") for compression in ("", "message", "file")),
        ("walk", "mcap", "storage"),
    ],
)
def test_a_bag_gives_the_pictures_of_its_camera(tmp_path, pictures, name, kind, compression):
    path = write_bag(tmp_path / name, film(pictures[:9]), kind, compression, pad=10)
    loaded = load(str(path))
    assert [frame.name for frame in loaded.frames] == [f"{name}{TOPIC}#{number:06d}" for number in range(9)]
    assert [frame.order for frame in loaded.frames] == [BEGIN_NS + number * SECOND_NS for number in range(9)]
    assert all(np.array_equal(frame.read(), expected) for frame, expected in zip(loaded.frames, pictures, strict=False))
    assert np.array_equal(loaded.frames[3].read(), pictures[3]), "also backwards"
    assert (loaded.notes, loaded.skipped) == ((), ())
    (origin,) = loaded.origins
    assert (origin.source, origin.topic, origin.messages) == (f"{name}{TOPIC}", TOPIC, 9)
    assert len(origin.sha256) == 64


@pytest.mark.parametrize("kind", ["db3", "mcap"])
def test_a_storage_file_alone_is_a_bag_too(tmp_path, pictures, kind):
    path = storage_of(write_bag(tmp_path / "walk", film(pictures[:9]), kind))
    loaded = load(str(path))
    assert len(loaded.frames) == 9
    if kind == "mcap":
        renamed = path.rename(path.with_name("WALK.MCAP"))
        assert len(load(str(renamed)).frames) == 9


def test_a_bags_content_is_hashed_wherever_it_lies(tmp_path, bag):
    moved = tmp_path / "elsewhere" / "walk"
    shutil.copytree(bag, moved)
    first, second = load(str(bag)), load(str(moved))
    assert first.sha256 == second.sha256
    storage_of(moved).write_bytes(storage_of(moved).read_bytes()[:-100])
    assert load(str(moved)).sha256 != first.sha256


@pytest.mark.parametrize("kind", ["db3", "mcap"])
def test_messages_compressed_one_by_one_are_read_without_the_bags_metadata(tmp_path, pictures, kind):
    path = storage_of(write_bag(tmp_path / "walk", film(pictures[:9]), kind, "message"))
    (path.parent / "metadata.yaml").unlink()
    assert all(np.array_equal(frame.read(), picture) for frame, picture in zip(load(str(path)).frames, pictures, strict=False))
    assert [frame.source for frame in load(str(path.parent)).frames] == [f"{path.name}{TOPIC}"] * 9


# --- the same as from pictures


@pytest.mark.parametrize("kind", ["ros1", "db3", "mcap"])
def test_a_bag_and_a_folder_of_its_pictures_calibrate_alike(tmp_path, pictures, kind):
    """Tensor for tensor, in the same order, on the same sides. The sets' hashes differ, since frames are named by their files."""
    (tmp_path / "pictures").mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / "pictures" / f"front_{number:04d}.png")
    bag = write_bag(tmp_path / ("walk.bag" if kind == "ros1" else "walk"), film(pictures), kind)
    first, second = (split(load(str(path))) for path in (tmp_path / "pictures", bag))
    for side in ("calibration", "validation"):
        ours, theirs = (
            np.concatenate([tensor for _, tensor in batches(getattr(each, side), Size(64, 64))]) for each in (first, second)
        )
        assert len(ours) > 5
        assert np.array_equal(ours, theirs)


def test_the_frames_to_judge_by_are_later_than_those_to_calibrate_on(bag):
    chosen = split(load(str(bag)))
    assert max(frame.order for frame in chosen.calibration) < min(frame.order for frame in chosen.validation)


# --- what the manifest says


def test_the_manifest_says_which_messages_were_used(bag):
    loaded = load(str(bag))
    chosen = split(loaded)
    (judged,) = _recordings(loaded.origins, chosen.validation)
    assert (judged.name, judged.topic, judged.messages, judged.frames) == (f"walk{TOPIC}", TOPIC, COUNT, len(chosen.validation))
    assert (judged.first_ns, judged.last_ns) == (chosen.validation[0].order, chosen.validation[-1].order)
    assert list(_recordings(loaded.origins, ())) == []
    facts = FrameSetFacts(name="walk", sha256=loaded.sha256, frames=1, recordings=(judged,))
    assert FrameSetFacts.model_validate_json(facts.model_dump_json()) == facts


def test_naming_the_only_topic_builds_the_same(bag):
    keys = {
        resolve(BuildRequest("demo", calibration=str(bag), reading=reading)).key
        for reading in (Reading(), Reading(topic=TOPIC), Reading(topic="camera/image_raw"))
    }
    assert len(keys) == 1


def test_what_reads_bags_is_in_the_keys_of_stages():
    modules, packages = dependencies._closure(("edgec.frames",))
    assert "rosbags" in packages
    assert {f"edgec.frames.bags.{name}" for name in ("opening", "salvage", "rows", "topics", "images")} <= modules
    assert {"edgec.frames.yuv", "edgec.frames.raw", "edgec.frames.still", "edgec.frames.mosaic"} <= modules


# --- topics


def two_cameras(pictures: list[np.ndarray]) -> list[Message]:
    left, right = film(pictures[:9], topic="/left/image_raw"), film(pictures[9:18], topic="/right/image_raw")
    return [message for pair in zip(left, right, strict=True) for message in pair]


@pytest.mark.parametrize("kind", ["ros1", "db3", "mcap"])
def test_of_several_topics_one_must_be_named(tmp_path, pictures, kind):
    path = write_bag(tmp_path / ("walk.bag" if kind == "ros1" else "walk"), two_cameras(pictures), kind)
    with pytest.raises(CalibrationError, match="pictures on several topics") as caught:
        load(str(path))
    assert caught.value.evidence == (
        "/left/image_raw: sensor_msgs/Image, 9 messages",
        "/right/image_raw: sensor_msgs/Image, 9 messages",
    )
    assert "--topic NAME" in caught.value.remedy
    loaded = load(str(path), reading=Reading("/right/image_raw"))
    assert np.array_equal(loaded.frames[0].read(), pictures[9])
    with pytest.raises(CalibrationError) as caught:
        load(str(path), reading=Reading("/front"))
    assert "no topic /front" in caught.value.evidence[0]
    assert "/left/image_raw" in caught.value.evidence[0]


def test_a_manifest_names_a_topic_for_each_source(tmp_path, pictures):
    write_bag(tmp_path / "walk", two_cameras(pictures), "mcap")
    (tmp_path / "set.toml").write_text('name = "yard"\n[[sources]]\npath = "walk"\ntopic = "/left/image_raw"\nevery = 2\n')
    loaded = load(str(tmp_path / "set.toml"))
    assert [frame.name for frame in loaded.frames] == [f"walk/left/image_raw#{number:06d}" for number in range(0, 9, 2)]
    assert loaded.origins[0].messages == 9


def test_a_topic_without_pictures_is_named_with_what_there_is(tmp_path):
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    with Writer(tmp_path / "talk.bag") as writer:
        connection = writer.add_connection("/chatter", "std_msgs/msg/String", typestore=store)
        message = store.types["std_msgs/msg/String"]("hello")
        writer.write(connection, BEGIN_NS, store.serialize_ros1(message, "std_msgs/msg/String"))
    with pytest.raises(CalibrationError) as caught:
        load(str(tmp_path / "talk.bag"))
    assert "no topic has pictures; its types are std_msgs/msg/String" in caught.value.evidence[0]


def test_options_that_nothing_uses_are_refused(picture, tmp_path):
    picture("set/a.png")
    loaded = load(str(tmp_path / "set"))
    require_use(Reading(), loaded)
    with pytest.raises(RequestError) as caught:
        require_use(Reading(topic="/camera"), loaded)
    assert "--topic" in caught.value.evidence[0]


# --- folders


def test_bags_among_pictures_are_each_one_source(picture, tmp_path, pictures):
    write_bag(tmp_path / "set" / "morning", film(pictures[:9]), "db3")
    write_bag(tmp_path / "set" / "old.bag", film(pictures[9:18]))
    picture("set/yard.png", 90)
    loaded = load(str(tmp_path / "set"))
    assert list(dict.fromkeys(frame.source for frame in loaded.frames)) == [f"morning{TOPIC}", f"old.bag{TOPIC}", "yard.png"]
    assert loaded.notes == ()
    assert len(loaded.origins) == 2


def test_without_rosbags_a_bag_says_what_to_install(bag, monkeypatch):
    installed = extras.installed
    monkeypatch.setattr(extras, "installed", lambda package: package != "rosbags" and installed(package))
    with pytest.raises(MissingPackage, match="Reading the bag walk needs a package") as caught:
        load(str(bag))
    assert caught.value.evidence == ("missing: rosbags",)
    assert caught.value.remedy == "pip install 'edgec[ros]'"


# --- which frames


def test_a_robot_that_stood_still_does_not_fill_the_set(tmp_path, pictures):
    """Twenty scenes, and between them four minutes in front of one, a frame a second, with a camera's noise."""
    noise = np.random.default_rng(0)
    standing = [np.clip(pictures[5] + noise.normal(0, 2, pictures[5].shape), 0, 255).astype(np.uint8) for _ in range(80)]
    moving = [scene(seed) for seed in range(100, 140)]
    path = write_bag(tmp_path / "walk", film([*moving[:20], *standing, *moving[20:]], 3 * SECOND_NS), "mcap")
    loaded = load(str(path))
    assert [(frame.order - BEGIN_NS) // (3 * SECOND_NS) for frame in loaded.frames] == [*range(21), *range(100, 120)]
    assert loaded.notes == (f"walk{TOPIC}: 79 frames of 120 left out, as nothing had moved since the last one taken",)
    assert [frame.name for frame in load(str(path)).frames] == [frame.name for frame in loaded.frames]


def test_a_camera_that_never_moves_still_gives_enough_frames():
    noise = [np.random.default_rng(seed).normal(0, 2, (72, 96, 3)) for seed in range(50)]
    shots = [np.clip(scene(1) + each, 0, 255).astype(np.uint8) for each in noise]
    assert max(int((perceptual_hash(shot) != perceptual_hash(shots[0])).sum()) for shot in shots) <= NEAR_BITS
    taken, left_out, damaged = by_motion(range(50), shots.__getitem__, str)
    assert (len(taken), left_out, damaged) == (32, 18, [])
    assert taken == sorted(taken)


@pytest.mark.parametrize(
    ("count", "rate", "expected", "apart_s"),
    [(40, 30, 40, 1 / 30), (3000, 30, 100, 1.0), (100_000, 30, 512, 6.5), (300, 30, 65, 0.15), (200, 1, 200, 1.0)],
)
def test_about_one_frame_a_second_is_looked_at(count, rate, expected, apart_s):
    """At least 64 if there are so many, at most 512, and a camera's clock that trembles by a tenth loses none."""
    trembling = np.random.default_rng(0).normal(0, 0.1, count)
    times = sorted(int(BEGIN_NS + (number + trembling[number]) / rate * SECOND_NS) for number in range(count))
    chosen = by_time(times)
    assert len(chosen) == expected
    assert chosen == sorted(set(chosen))
    assert np.median(np.diff([times[index] for index in chosen])) / SECOND_NS == pytest.approx(apart_s, rel=0.2)


def test_messages_of_one_time_are_told_apart(tmp_path, pictures):
    path = write_bag(tmp_path / "walk", film(pictures[:9], step_ns=0), "mcap")
    assert [
        np.array_equal(frame.read(), picture) for frame, picture in zip(load(str(path)).frames, pictures[:9], strict=True)
    ] == [True] * 9


def test_the_types_are_told_by_their_names_in_ros1_too(tmp_path, pictures):
    messages = [
        compressed(each, "rgb8; jpeg compressed bgr8", time_ns=BEGIN_NS + number) for number, each in enumerate(pictures[:9])
    ]
    loaded = load(str(write_bag(tmp_path / "walk.bag", messages)))
    assert float(np.abs(loaded.frames[0].read().astype(int) - pictures[0]).mean()) < 4
