"""When frames are delivered: when they are asked for, or on a clock that does not wait.

A camera, and a file that is played like one (`--fps`), is read by a thread, as a driver delivers frames to a robot: the newest
frames wait to be taken, older ones are dropped. So latency counts from a frame's arrival, and a model that is too slow shows as
dropped frames, not as a film that is more and more delayed.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator

from edgec.errors import CalibrationError
from edgec.frames import Pixels, Skipped
from edgec.running.types import Shot, Taken

PATIENCE_S = 10.0
"""Seconds without a frame from a camera after which the run is ended."""
_LOOK_S = 0.05
_LATE_PERIODS = 1.0


class Feed(ABC):
    """Delivers decoded frames. `dropped` counts frames that were too old when the model was ready; `late` those that the source
    itself delivered late."""

    dropped: int = 0
    late: int = 0
    waits: bool

    @abstractmethod
    def take(self, count: int) -> list[Taken]:
        """The next `count` frames, fewer at the end, none after it. Damaged frames are reported and left out."""

    def close(self) -> None:  # noqa: B027 - a feed without a thread has nothing to end
        """Stops reading the source."""


class OnDemand(Feed):
    """Decodes frames when they are asked for. All frames of a batch count as arrived when the last of them is decoded."""

    waits = True

    def __init__(self, shots: Iterator[Shot], skip: Callable[[Skipped], None], stop: Callable[[], bool]) -> None:
        self._shots, self._skip, self._stop = shots, skip, stop

    def take(self, count: int) -> list[Taken]:
        """Decodes so many."""
        decoded: list[tuple[Shot, Pixels]] = []
        while len(decoded) < count and not self._stop():
            shot = next(self._shots, None)
            if shot is None:
                break
            try:
                decoded.append((shot, shot.read()))
            except CalibrationError as error:
                self._skip((shot.name, "; ".join(error.evidence)))
        now = time.monotonic_ns()
        return [Taken(shot, pixels, now) for shot, pixels in decoded]


class Clocked(Feed):
    """Delivers on a clock, frame k at k / fps seconds, or, if `fps` is None, as frames come. Holds the newest `keep` frames."""

    waits = False

    def __init__(
        self,
        shots: Iterator[Shot],
        skip: Callable[[Skipped], None],
        stop: Callable[[], bool],
        *,
        fps: float | None,
        keep: int,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._skip, self._stop, self._fps, self._patience_s = skip, stop, fps, patience_s
        self._changed = threading.Condition()
        self._waiting: deque[Taken] = deque(maxlen=keep)
        self._skipped: list[Skipped] = []
        self._error: BaseException | None = None
        self._ended = False
        self._closing = threading.Event()
        # A daemon: a camera that hangs in its driver must not keep the program from ending.
        self._thread = threading.Thread(target=self._deliver, args=(shots,), name="source", daemon=True)
        self._thread.start()

    def take(self, count: int) -> list[Taken]:
        """Waits until so many frames have arrived. Raises `CalibrationError` if the source failed, or gives nothing for ten
        seconds."""
        since = time.monotonic()
        while True:
            with self._changed:
                if not self._ready(count) and not self._stop():
                    self._changed.wait(_LOOK_S)
                skipped, self._skipped = self._skipped, []
                ready = self._ready(count)
                taken = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))] if ready else []
            for each in skipped:
                self._skip(each)
            if taken or self._stop():
                return taken
            if ready:
                if self._error is not None:
                    raise self._error
                return []
            if skipped:
                since = time.monotonic()
            if self._fps is None and time.monotonic() - since > self._patience_s:
                raise CalibrationError(
                    f"The camera gave no frame for {self._patience_s:g} seconds.", remedy="look whether another program uses it"
                )

    def close(self) -> None:
        """Ends the thread."""
        self._closing.set()
        self._thread.join(2.0)

    def _ready(self, count: int) -> bool:
        return self._ended or len(self._waiting) >= count

    def _deliver(self, shots: Iterator[Shot]) -> None:
        try:
            self._deliver_all(shots)
        except BaseException as error:  # whatever it is, the thread that works must learn of it
            self._error = error
        finally:
            close = getattr(shots, "close", None)
            if close is not None:
                close()
            with self._changed:
                self._ended = True
                self._changed.notify()

    def _deliver_all(self, shots: Iterator[Shot]) -> None:
        begin: float | None = None
        for shot in shots:
            if self._closing.is_set():
                return
            try:
                pixels = shot.read()
            except CalibrationError as error:
                with self._changed:
                    self._skipped.append((shot.name, "; ".join(error.evidence)))
                continue
            if self._fps is not None:
                now = time.monotonic()
                begin = now - shot.number / self._fps if begin is None else begin
                due = begin + shot.number / self._fps
                if now < due and self._closing.wait(due - now):
                    return
                # Frames that the model is too slow for are dropped below; these are what the decoder was too slow for.
                self.late += now - due > _LATE_PERIODS / self._fps
            with self._changed:
                self.dropped += len(self._waiting) == self._waiting.maxlen
                self._waiting.append(Taken(shot, pixels, time.monotonic_ns()))
                self._changed.notify()
