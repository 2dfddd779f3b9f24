"""Keeps frames that alarm in a `Ring`, from a thread of its own: neither a slow disk nor a full one stops inference."""

from __future__ import annotations

import os
import queue
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from .ring import BOUNDS, Bounds, Ring

INTERVAL_S = 1.0
"""Between two frames that are kept, by the camera's clock: else the folder would hold the last seconds alone."""
RETRY_S = 60.0
"""After a frame could not be written."""


class _Job(NamedTuple):
    frame: Any
    score: float
    source: str


class Keeper:
    """Counts what became of the frames that were offered: `kept`, `passed_over` (too soon after another, or while one was being
    written), `failed`. `problem` says why the last one failed."""

    def __init__(self, folder: Path, build_key: str, bounds: Bounds = BOUNDS, *, wait: bool = False) -> None:
        """With `wait`, `offer` waits for the disk instead of passing frames over. Raises `OSError` as `Ring`."""
        # `Path.expanduser` would raise for an unknown user.
        self._ring = Ring(Path(os.path.expanduser(str(folder))), build_key, bounds)  # noqa: PTH111
        self.folder = self._ring.folder
        self.kept = self.passed_over = self.failed = 0
        self.problem = ""
        self._wait = wait
        self._last_s: float | None = None
        self._failed_s: float | None = None
        self._said = False
        self._jobs: queue.Queue[_Job | None] = queue.Queue(1)
        self._thread = threading.Thread(target=self._work, name="edgec-keeper", daemon=True)
        self._thread.start()

    def offer(self, frame: Any, score: float, source: str = "", at_s: float | None = None) -> None:
        """A frame that alarms: an array of uint8 [height, width, 3] in RGB, which is copied. `at_s` is its time in seconds, by a
        clock that goes on steadily; without it frames are kept however soon they follow. `source` says where it is from."""
        if at_s is not None and self._last_s is not None and 0 <= at_s - self._last_s < INTERVAL_S:
            self.passed_over += 1
            return
        job = _Job(frame.copy(), score, source)
        try:
            self._jobs.put(job, block=self._wait)
        except queue.Full:
            self.passed_over += 1
            return
        self._last_s = at_s

    def news(self) -> str:
        """Why a frame could not be kept, the first time that one could not; otherwise empty."""
        if self._said or not self.problem:
            return ""
        self._said = True
        return f"frames that are unlike the calibration frames are not kept in {self.folder}: {self.problem}"

    def close(self) -> None:
        """Waits until what was offered is written."""
        self._jobs.put(None)
        self._thread.join()
        self._ring.close()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            if self._failed_s is not None and time.monotonic() - self._failed_s < RETRY_S:
                self.failed += 1
                continue
            try:
                self._ring.add(*job)
            except Exception as error:  # whatever it is, the robot goes on
                self._failed_s = time.monotonic()
                self.failed += 1
                self.problem = getattr(error, "strerror", None) or str(error) or type(error).__name__
            else:
                self.kept += 1
