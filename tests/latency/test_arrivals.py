"""The camera's schedule. A model that sleeps stands for one that computes; nothing here asserts how long anything takes."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from edgec.latency.arrivals import FrameLog, back_to_back, camera


def ordered(record: FrameLog) -> None:
    for arrived, started, done in zip(record.arrived, record.started, record.done, strict=True):
        assert arrived <= started <= done
    assert list(record.done) == sorted(record.done)


@pytest.mark.parametrize("latest", [True, False])
def test_every_frame_is_done_or_dropped(latest: bool) -> None:
    begin = time.monotonic_ns() + 1_000_000
    record = camera(lambda: time.sleep(0.012), begin, 0.2, 250, latest=latest)
    ordered(record)
    assert len(record.done) + record.dropped == 50
    numbers = [(arrived - begin) * 250 / 1e9 for arrived in record.arrived]
    assert numbers == pytest.approx([round(number) for number in numbers], abs=1e-5)
    assert all(earlier < later for earlier, later in pairwise(numbers))


def test_the_newest_waiting_frame_is_taken() -> None:
    begin = time.monotonic_ns()
    record = camera(lambda: time.sleep(0.01), begin, 0.2, 1000, latest=True)
    assert record.dropped > 0
    for arrived, started in zip(record.arrived, record.started, strict=True):
        # No other had arrived between; but for the last, behind which none comes.
        assert started - arrived < 1_000_000 or arrived == record.arrived[-1]


def test_all_wait_for_their_turn() -> None:
    begin = time.monotonic_ns()
    record = camera(lambda: time.sleep(0.004), begin, 0.1, 500, latest=False)
    assert record.dropped == 0
    assert len(record.done) == 50
    assert list(record.arrived) == [begin + round(number * 2e6) for number in range(50)]


def test_a_queue_that_only_grows_ends() -> None:
    began = time.monotonic_ns()
    record = camera(lambda: time.sleep(0.05), began, 0.05, 10_000, latest=False)
    assert record.dropped > 0
    assert len(record.done) + record.dropped == 500


@pytest.mark.parametrize(("seconds", "fps", "frames"), [(0.01, 0.5, 1), (0.1, 30, 3), (0.3, 10, 3), (0.001, 1e6, 1000)])
def test_how_many_frames_arrive(seconds: float, fps: float, frames: int) -> None:
    record = camera(lambda: None, time.monotonic_ns(), seconds, fps, latest=True)
    assert len(record.done) + record.dropped == frames


def test_back_to_back() -> None:
    begin = time.monotonic_ns() + 2_000_000
    record = back_to_back(lambda: None, begin, 0.01)
    ordered(record)
    assert record.arrived == record.started
    assert record.started[0] >= begin
    assert record.done[-1] >= begin + 10_000_000 > record.done[-2]
    assert len(back_to_back(lambda: None, begin, 1e-9).done) == 1
