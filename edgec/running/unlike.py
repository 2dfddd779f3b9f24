"""Frames that are unlike the calibration frames, kept in a bounded folder (`edgec.onboard.ring`) where the user asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgec.artefact.drift import Drift
from edgec.artefact.reading import OpenArtefact
from edgec.errors import EdgecError, RequestError
from edgec.onboard.drift import THRESHOLD
from edgec.onboard.keeping import Keeper
from edgec.records.reading import printable
from edgec.running.request import RunRequest
from edgec.running.types import Done, Taken


@dataclass(frozen=True)
class Kept:
    """What became of the frames that alarmed: `passed_over` came too soon after another one, `failed` could not be written,
    because of `problem`."""

    folder: Path
    frames: int
    passed_over: int
    failed: int
    problem: str

    def to_json(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "path": str(self.folder),
            "kept": self.frames,
            "passed_over": self.passed_over,
            "failed": self.failed,
            "problem": self.problem or None,
        }


class UnlikeFrames:
    """Keeps a run's frames that alarm. Close it to have them all written."""

    def __init__(self, request: RunRequest, artefact: OpenArtefact, drift: Drift | None, *, live: bool) -> None:
        """Raises `RequestError` if the artefact cannot tell, and `EdgecError` if the folder cannot be written."""
        assert request.drift_frames is not None
        folder = printable(str(request.drift_frames))
        if drift is None:
            raise RequestError(
                "The artefact cannot tell which frames are unlike those that it was calibrated on.",
                evidence="it has no drift file: it gives no raw features, or an older edgec built it",
                remedy="leave --drift-frames out, or build the artefact again with features",
            )
        try:
            self._keeper = Keeper(request.drift_frames, artefact.manifest.build_key, request.drift_bounds, wait=not live)
        except OSError as error:
            raise EdgecError(
                f"{folder} cannot keep frames.", evidence=error.strerror or str(error), remedy="choose another folder"
            ) from error

    def offer(self, taken: Taken, done: Done) -> str:
        """Keeps the camera's frame if it alarms. Returns why one could not be kept, the first time that happens."""
        if done.drift is not None and done.drift > THRESHOLD:
            self._keeper.offer(taken.pixels, done.drift, done.name, done.time_s)
        return self._keeper.news()

    def close(self) -> Kept:
        """Waits until every frame is written."""
        self._keeper.close()
        return self.kept

    @property
    def kept(self) -> Kept:
        """Up to now."""
        keeper = self._keeper
        return Kept(keeper.folder, keeper.kept, keeper.passed_over, keeper.failed, keeper.problem)

    @property
    def news(self) -> str:
        """As `offer` returns it."""
        return self._keeper.news()
