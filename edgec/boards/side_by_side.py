"""Several boards at once; a failure on one does not stop the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import TypeVar

from edgec.boards.address import Address
from edgec.boards.commands import Board
from edgec.boards.running import Listener
from edgec.boards.ssh import Connection, SshOptions
from edgec.errors import EdgecError

T = TypeVar("T")
U = TypeVar("U")


class SideBySide:
    """Connections to all boards that can be reached, open while entered. If ssh may ask for passwords, they are opened one after
    the other, before anything else is displayed."""

    def __init__(self, addresses: Sequence[Address], options: SshOptions, directory: str | None) -> None:
        self._addresses, self._options, self._directory = addresses, options, directory
        self._stop = threading.Event()
        self._open = ExitStack()

    def __enter__(self) -> SideBySide:
        connections = [Connection(address, self._options, self._stop) for address in self._addresses]
        with self._open:  # closes what is open if one of them is interrupted
            if self._options.ask:
                self._connected = [_attempt(self._open.enter_context, connection) for connection in connections]
            else:
                self._connected = self._all(self._open.enter_context, connections)
            self._open = self._open.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def each(self, work: Callable[[Board], T], listeners: Sequence[Listener]) -> list[T | EdgecError]:
        """Run `work` on each board, with a listener each; returns its results, or the errors that it ended with, in the boards'
        order. Ctrl-C ends the work on the boards too."""

        def one(index: int) -> T:
            connection = self._connected[index]
            if isinstance(connection, EdgecError):
                raise connection
            return work(Board(connection, listeners[index], self._stop, self._directory))

        return self._all(one, range(len(self._connected)))

    def _all(self, work: Callable[[U], T], arguments: Sequence[U]) -> list[T | EdgecError]:
        with ThreadPoolExecutor(len(arguments)) as pool:
            futures = [pool.submit(_attempt, work, argument) for argument in arguments]
            try:
                return [future.result() for future in futures]
            except BaseException:
                self._stop.set()
                raise


def _attempt(work: Callable[[U], T], argument: U) -> T | EdgecError:
    try:
        return work(argument)
    except EdgecError as error:
        return error
