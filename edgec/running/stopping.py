"""Ctrl-C and SIGTERM as a request: the frame at hand is finished, and so is what was written."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Stopping:
    """While entered, the first of these signals asks the run to end; the second raises `KeyboardInterrupt`.

    Signals that the caller had ignored, as `nohup` does, stay ignored.
    """

    _USUAL = ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL))

    def __init__(self) -> None:
        self.number: int | None = None
        """The signal that asked."""
        self._asked = False
        self._before: list[tuple[signal.Signals, Any]] = []

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():
            for number, usual in self._USUAL:
                before = signal.getsignal(number)
                if before is usual:
                    signal.signal(number, self._signalled)
                    self._before.append((number, before))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, before in self._before:
            signal.signal(number, before)

    def asked(self) -> bool:
        """Whether the run was asked to end."""
        return self._asked

    def ask(self) -> None:
        """Ask the run to end, as a signal would, but without its exit code."""
        self._asked = True

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self.number = number
        self._asked = True
