"""Working on many boards, some at once. Each has a connection of its own, open as long as its work lasts.

Nobody can answer the questions of fifty boards: ssh asks none here, and a board that would ask is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgec.boards.commands import Board
from edgec.boards.running import Listener
from edgec.boards.ssh import Connection
from edgec.errors import EdgecError
from edgec.fleet.file import Place

T = TypeVar("T")
U = TypeVar("U")


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
    end: Callable[[Ended[T]], U],
    *,
    at_once: int,
    listener: Callable[[Place], Listener] = no_listener,
    may_start: Callable[[], bool] = lambda: True,
) -> list[U]:
    """Work on all boards, at most `at_once` at the same time, begun in their order; returns what `end` makes of each, in their
    order. `end` is called when a board's work ends, before another board's begins in its stead, and from several threads.

    Boards whose turn comes when `may_start` is false are left out. Ctrl-C, or an error that is not edgec's, ends the work on the
    boards too.
    """
    stop = threading.Event()

    def one(place: Place) -> Iterator[U]:
        if stop.is_set() or not may_start():
            return
        reached = False
        try:
            with Connection(place.address, place.options, stop) as connection:
                reached = True
                result: T | EdgecError = work(place, Board(connection, listener(place), stop, place.directory))
        except EdgecError as error:
            result = error
        yield end(Ended(place, result, reached))

    with ThreadPoolExecutor(max(1, min(at_once, len(places)))) as pool:
        futures = [pool.submit(lambda place: list(one(place)), place) for place in places]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            stop.set()
            for future in futures:
                future.cancel()
            raise
    return [result for future in futures for result in future.result()]
