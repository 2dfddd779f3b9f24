"""When frames come. The clocks of these tests are their own: what is late is made to be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edgec.errors import CalibrationError
from edgec.frames import Pixels
from edgec.frames.pictures import damaged
from edgec.running.feeds import Clocked, OnDemand
from edgec.running.types import Shot


def picture() -> Pixels:
    return np.zeros((2, 2, 3), np.uint8)


def broken() -> Pixels:
    raise damaged("x", "broken")


def shots(count: int, bad: tuple[int, ...] = ()) -> Iterator[Shot]:
    for number in range(count):
        yield Shot(f"{number}", number, None, broken if number in bad else picture)


def never() -> bool:
    return False


class Delivery:
    """A source that gives its frames up to a number, and then waits until it may go on."""

    def __init__(self, until: int, end: Callable[[], None] | None = None) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self._until, self._end = until, end

    def __iter__(self) -> Iterator[Shot]:
        yield from shots(self._until)
        self.reached.set()
        assert self.go_on.wait(30)
        if self._end:
            self._end()


def test_frames_that_are_asked_for_are_never_dropped() -> None:
    skipped: list[tuple[str, str]] = []
    feed = OnDemand(shots(6, bad=(1, 5)), skipped.append, never)
    assert [[taken.shot.name for taken in feed.take(2)] for _ in range(3)] == [["0", "2"], ["3", "4"], []]
    assert skipped == [("1", "broken"), ("5", "broken")]
    assert feed.dropped == 0


def test_those_of_one_batch_arrive_together() -> None:
    first, second = OnDemand(shots(2), lambda _: None, never).take(2)
    assert first.arrived_ns == second.arrived_ns


def test_nothing_more_is_read_once_the_run_is_to_end() -> None:
    taken: list[str] = []
    feed = OnDemand(shots(9), lambda _: None, lambda: len(taken) >= 3)
    while actual := feed.take(1):
        taken += [each.shot.name for each in actual]
    assert taken == ["0", "1", "2"]


@pytest.mark.parametrize(("keep", "expected"), [(1, ["6"]), (3, ["4", "5", "6"])])
def test_the_newest_of_the_waiting_frames_is_taken(keep: int, expected: list[str]) -> None:
    delivery = Delivery(7)
    feed = Clocked(iter(delivery), lambda _: None, never, fps=None, keep=keep)
    assert delivery.reached.wait(30)
    assert [each.shot.name for each in feed.take(keep)] == expected
    assert feed.dropped == 7 - keep
    delivery.go_on.set()
    assert feed.take(keep) == []
    feed.close()


def test_a_last_batch_is_what_there_is() -> None:
    feed = Clocked(shots(2), lambda _: None, never, fps=None, keep=3)
    assert [each.shot.name for each in feed.take(3)] == ["0", "1"]
    assert feed.take(3) == []


def test_a_clock_delivers_every_frame_to_a_reader_that_is_fast_enough() -> None:
    skipped: list[tuple[str, str]] = []
    feed = Clocked(shots(5, bad=(3,)), skipped.append, never, fps=500, keep=5)
    names = []
    while actual := feed.take(1):
        names += [each.shot.name for each in actual]
    assert names == ["0", "1", "2", "4"]
    assert skipped == [("3", "broken")]
    assert feed.dropped == 0


def test_the_error_of_a_source_is_raised_after_its_last_frame() -> None:
    def fail() -> None:
        raise CalibrationError("The camera is gone.")

    delivery = Delivery(1, fail)
    feed = Clocked(iter(delivery), lambda _: None, never, fps=None, keep=1)
    delivery.go_on.set()
    assert [each.shot.name for each in feed.take(1)] == ["0"]
    with pytest.raises(CalibrationError, match="The camera is gone"):
        feed.take(1)


def test_a_camera_that_gives_nothing_is_given_up() -> None:
    delivery = Delivery(0)
    feed = Clocked(iter(delivery), lambda _: None, never, fps=None, keep=1, patience_s=0.05)
    with pytest.raises(CalibrationError, match=r"gave no frame for 0\.05 seconds"):
        feed.take(1)
    delivery.go_on.set()
    feed.close()


def test_waiting_ends_when_the_run_is_to_end() -> None:
    delivery = Delivery(0)
    feed = Clocked(iter(delivery), lambda _: None, lambda: True, fps=None, keep=1)
    assert feed.take(1) == []
    delivery.go_on.set()
    feed.close()


def test_a_source_that_is_slower_than_its_clock_is_counted() -> None:
    def slow() -> Iterator[Shot]:
        for shot in shots(3):
            if shot.number == 1:
                assert not threading.Event().wait(0.05)
            yield shot

    feed = Clocked(slow(), lambda _: None, never, fps=100, keep=3)
    assert len(feed.take(3)) == 3
    assert feed.late >= 1
