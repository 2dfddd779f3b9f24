"""When frames come: as they are asked for, or on a clock that waits for nobody.

A camera and a file that is played as one (`--fps`) are read by a thread, which stands for what delivers frames to a robot: the
newest frames wait to be taken, older ones are dropped. So latency counts from a frame's arrival, and a model that is too slow
shows as drops, not as a film that gets ever later.
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
"""How long a camera may give nothing before the run is ended."""
_LOOK_S = 0.05
_LATE_PERIODS = 1.0


class Feed(ABC):
    """`dropped` frames came and were too old when the model was ready; `late` are those that the source itself gave late."""

    dropped: int = 0
    late: int = 0
    waits: bool

    @abstractmethod
    def take(self, count: int) -> list[Taken]:
        """`count` frames, or fewer at the end; none after it. Damaged ones are told and left out."""

    def close(self) -> None:  # noqa: B027 - a feed without a thread has nothing to end
        """Ends the reading."""


class Asked(Feed):
    """Decodes the next frames when they are asked for. They all arrive when the last of them is there."""

    waits = True

    def __init__(self, shots: Iterator[Shot], skip: Callable[[Skipped], None], stop: Callable[[], bool]) -> None:
        self._shots, self._skip, self._stop = shots, skip, stop

    def take(self, count: int) -> list[Taken]:
        found: list[tuple[Shot, Pixels]] = []
        while len(found) < count and not self._stop():
            shot = next(self._shots, None)
            if shot is None:
                break
            try:
                found.append((shot, shot.read()))
            except CalibrationError as error:
                self._skip((shot.name, "; ".join(error.evidence)))
        now = time.monotonic_ns()
        return [Taken(shot, pixels, now) for shot, pixels in found]


class Clocked(Feed):
    """Delivers on a clock, frame k at k / fps seconds, or as they come where `fps` is None. Keeps the newest `keep`."""

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
        """Raises `CalibrationError` if the source failed, or gives nothing for ten seconds."""
        asked = time.monotonic()
        while True:
            with self._changed:
                if not self._ready(count) and not self._stop():
                    self._changed.wait(_LOOK_S)
                skipped, self._skipped = self._skipped, []
                ready = self._ready(count)
                found = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))] if ready else []
            for each in skipped:
                self._skip(each)
            if found or self._stop():
                return found
            if ready:
                if self._error is not None:
                    raise self._error
                return []
            if skipped:
                asked = time.monotonic()
            if self._fps is None and time.monotonic() - asked > self._patience_s:
                raise CalibrationError(
                    f"The camera gave no frame for {self._patience_s:g} seconds.", remedy="look whether another program uses it"
                )

    def close(self) -> None:
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
