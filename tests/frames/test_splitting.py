from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from edgec.errors import CalibrationError, RequestError
from edgec.frames import FrameSet, Split, split


def names(frames):
    return [frame.name for frame in frames]


def singles(count, start=0):
    return [(f"photo{number}", 0, start + number) for number in range(count)]


def sequence(name, count, start):
    return [(name, number, start + number) for number in range(count)]


def apart(parts: Split) -> None:
    assert not set(names(parts.calibration)) & set(names(parts.validation))


def test_a_quarter_of_single_pictures_is_for_validation(frameset):
    parts = split(frameset(*singles(40)))
    apart(parts)
    assert (len(parts.calibration), len(parts.validation)) == (30, 10)


def test_the_same_seed_gives_the_same_split_and_another_one_another(frameset):
    made = frameset(*singles(40), *sequence("video", 20, 100))
    assert split(made, seed=1) == split(made, seed=1)
    assert split(made, seed=1).validation != split(made, seed=2).validation
    assert split(replace(made, seed=2)) == split(made, seed=2)


def test_a_sequence_is_judged_by_its_end_with_a_gap_before(frameset):
    parts = split(frameset(*sequence("video", 64, 0)))
    calibration = [frame.order for frame in parts.calibration]
    validation = [frame.order for frame in parts.validation]
    assert validation == list(range(48, 64))
    assert calibration == list(range(44))


def test_time_counts_and_not_the_order_in_the_set(frameset):
    made = frameset(*reversed(sequence("video", 20, 0)))
    parts = split(made)
    assert max(frame.order for frame in parts.calibration) < min(frame.order for frame in parts.validation)


def test_a_short_sequence_stays_together(frameset):
    made = frameset(*(item for number in range(12) for item in sequence(f"walk{number}", 3, 10 * number)))
    for seed in range(5):
        parts = split(made, seed=seed)
        sides = {frame.source: "calibration" for frame in parts.calibration}
        assert not any(frame.source in sides for frame in parts.validation)
        assert len(parts.calibration) + len(parts.validation) == 36


def test_limits_hold_and_are_spread_evenly(frameset):
    made = frameset(*sequence("long", 300, 0), *sequence("short", 40, 1000), *singles(20, 2000))
    parts = split(made, limit=30, validation=9)
    assert (len(parts.calibration), len(parts.validation)) == (30, 9)
    drawn = [frame.source for frame in parts.calibration]
    assert (drawn.count("long"), drawn.count("short")) == (10, 10)
    orders = [frame.order for frame in parts.calibration if frame.source == "long"]
    gaps = [later - earlier for earlier, later in pairwise(orders)]
    assert max(gaps) - min(gaps) <= 1
    assert {frame.source for frame in parts.validation} >= {"long", "short"}


def test_a_large_sequence_fills_what_small_ones_leave(frameset):
    parts = split(frameset(*sequence("long", 100, 0), *singles(4, 1000)), limit=50)
    assert len(parts.calibration) == 50


@pytest.mark.parametrize("kind", [singles(8), sequence("video", 8, 0), [*sequence("video", 7, 0), ("photo", 0, 50)]])
def test_eight_frames_are_enough(frameset, kind):
    parts = split(frameset(*kind))
    apart(parts)
    assert (len(parts.calibration), len(parts.validation)) == (6, 2)


def test_seven_are_not(frameset):
    with pytest.raises(CalibrationError, match="too few usable frames"):
        split(frameset(*singles(7)))


def test_damaged_frames_are_listed_and_replaced(frameset):
    parts = split(frameset(*singles(30), ("bad1", 0, None), ("bad2", 0, None)), limit=20, validation=6)
    assert (len(parts.calibration), len(parts.validation)) == (20, 6)
    parts = split(frameset(*singles(30), ("bad1", 0, None), ("bad2", 0, None)))
    assert {name for name, _ in parts.skipped} <= {"bad1#0", "bad2#0"}
    assert not {"bad1#0", "bad2#0"} & set(names(parts.calibration + parts.validation))


@pytest.mark.parametrize("seed", range(6))
def test_eight_usable_among_damaged_ones_are_enough_wherever_the_damage_is(frameset, seed):
    made = frameset(*singles(8), *((f"bad{number}", 0, None) for number in range(5)))
    parts = split(made, seed=seed)
    assert len(parts.calibration) == 6
    assert len(parts.validation) == 2


def test_too_few_usable_ones_name_the_damaged(frameset):
    with pytest.raises(CalibrationError) as caught:
        split(frameset(*singles(7), ("bad", 0, None)))
    assert "bad#0: cut short" in str(caught.value)


@pytest.mark.parametrize("seed", range(4))
def test_the_same_picture_is_never_on_both_sides(frameset, seed):
    made = frameset(*singles(20), *((f"copy{number}", 0, number) for number in range(20)))
    parts = split(made, seed=seed)
    pictures = [frame.read().tobytes() for frame in parts.calibration + parts.validation]
    assert len(set(pictures)) == len(pictures)
    assert parts.copies


def test_the_same_bytes_count_once(frameset):
    made = frameset(*singles(20))
    doubled = replace(made, frames=(*made.frames, *(replace(frame, name=f"again {frame.name}") for frame in made.frames)))
    parts = split(doubled)
    assert len(parts.calibration) + len(parts.validation) == 20
    assert len(parts.copies) == 20


def test_a_still_video_is_not_a_set(frameset):
    with pytest.raises(CalibrationError, match="too few usable frames") as caught:
        split(frameset(*(("video", number, 7) for number in range(40))))
    assert "the same picture as another" in str(caught.value)


def on_sides(made: FrameSet, judged: str) -> FrameSet:
    frames = (replace(f, side="validation" if f.source.startswith(judged) else "calibration") for f in made.frames)
    return replace(made, frames=tuple(frames))


def test_a_manifests_sides_are_kept(frameset):
    made = on_sides(frameset(*singles(10), *sequence("evening", 12, 100)), "evening")
    parts = split(made)
    assert {frame.source for frame in parts.validation} == {"evening"}
    assert len(parts.validation) == 12
    assert len(parts.calibration) == 10


def test_a_picture_on_both_sides_of_a_manifest_is_for_validation_only(frameset):
    made = on_sides(frameset(*singles(10), *sequence("evening", 12, 100), ("photo99", 0, 103)), "evening")
    parts = split(made)
    assert "photo99#0" not in names(parts.calibration)
    assert len(parts.validation) == 12
    assert parts.copies == ("photo99#0",)


def test_impossible_limits_are_refused(frameset):
    with pytest.raises(RequestError, match="at least 6 calibration and 2 validation"):
        split(frameset(*singles(20)), limit=5)
