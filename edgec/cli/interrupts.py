"""Ctrl-C that is never lost."""

from __future__ import annotations

import signal
import sys
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """While entered, an interrupt that Python or a library swallowed is raised again at the next `check`.

    Python drops a `KeyboardInterrupt` that is raised inside a destructor, and complains about it at length; importing torch and
    exporting with it runs thousands of destructors.
    """

    def __init__(self) -> None:
        self._seen = False

    def __enter__(self) -> Interrupts:
        self._complain = sys.unraisablehook
        sys.unraisablehook = self._unraisable
        self._handler = signal.getsignal(signal.SIGINT)
        if self._handler is signal.default_int_handler:  # not where a shell started us to ignore it
            signal.signal(signal.SIGINT, self._interrupted)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        signal.signal(signal.SIGINT, self._handler)
        sys.unraisablehook = self._complain

    def check(self) -> None:
        """Raises `KeyboardInterrupt` if there was one."""
        if self._seen:
            raise KeyboardInterrupt

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self._seen = True
        raise KeyboardInterrupt

    def _unraisable(self, lost: Any) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            self._complain(lost)
