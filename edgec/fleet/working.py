"""Working on many boards, some at once. Each has a connection of its own, open as long as its work lasts.

Nobody can answer the questions of fifty boards: ssh asks none here, and a board that would ask is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgec.boards.commands import Board
from edgec.boards.running import Listener
from edgec.boards.ssh import Connection
from edgec.errors import EdgecError
from edgec.fleet.file import Place

T = TypeVar("T")


@dataclass(frozen=True)
class Ended(Generic[T]):
    """What the work on a board gave, or the error that it ended with. `reached`: whether there was a connection."""

    place: Place
    result: T | EdgecError
    reached: bool


def no_listener(place: Place) -> Listener:
    """For work that has nothing to tell meanwhile."""
    return lambda event: None


def each(
    places: Sequence[Place],
    work: Callable[[Place, Board], T],
    *,
    at_once: int,
    listener: Callable[[Place], Listener] = no_listener,
    may_start: Callable[[], bool] = lambda: True,
) -> Iterator[Ended[T]]:
    """The boards as their work ends, at most `at_once` at the same time, begun in their order. Those whose turn comes when
    `may_start` is false are left out. Ctrl-C, or an error that is not edgec's, ends the work on the boards too."""
    stop = threading.Event()

    def one(place: Place) -> Ended[T] | None:
        if stop.is_set() or not may_start():
            return None
        reached = False
        try:
            with Connection(place.address, place.options, stop) as connection:
                reached = True
                return Ended(place, work(place, Board(connection, listener(place), stop, place.directory)), reached)
        except EdgecError as error:
            return Ended(place, error, reached)

    with ThreadPoolExecutor(max(1, min(at_once, len(places)))) as pool:
        futures = [pool.submit(one, place) for place in places]
        try:
            for future in as_completed(futures):
                ended = future.result()
                if ended is not None:
                    yield ended
        except BaseException:
            stop.set()
            for future in futures:
                future.cancel()
            raise
