"""Where a run's results are written. Everything is written under a hidden name first and appears whole, also if a run is
interrupted."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgec.durable import disk_is_full, publish, scratch, sweep
from edgec.errors import EdgecError
from edgec.records.reading import printable
from edgec.running.types import Done

_LONGEST = 60


@dataclass(frozen=True)
class Written:
    """What a sink wrote; `note` says more about it, such as the codec."""

    path: Path
    frames: int
    size_bytes: int
    note: str = ""


class Sink(AbstractContextManager["Sink"], ABC):
    """A place that results are written to. As a context manager, leaving it removes what is not whole; `finish` makes whole what
    was written up to then.

    `write` and `finish` raise `EdgecError` if the disk is full or refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames = 0
        self.broken = False
        """Whether it failed, so that there is nothing to finish."""
        self.finished = False
        self.work = Path()
        """A hidden folder on the same filesystem, while entered."""
        self._stack = ExitStack()

    @abstractmethod
    def write(self, done: Done) -> None:
        """Write one frame's results."""

    @abstractmethod
    def finish(self) -> Written:
        """Make everything whole, and say what was written."""

    @property
    def folder(self) -> Path:
        """The folder in which the hidden folder is made."""
        return Path(os.path.realpath(self.path)).parent

    def __enter__(self) -> Sink:
        with self.refusals():
            self.folder.mkdir(parents=True, exist_ok=True)
            sweep(self.folder)
            self.work = self._stack.enter_context(scratch(self.folder))
        return self

    def __exit__(self, *error: Any) -> None:
        with suppress(OSError):  # what a full disk did not take is said already
            self._stack.close()

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Raises the system's errors as errors of edgec."""
        try:
            yield
        except OSError as error:
            name = printable(str(self.path))
            if disk_is_full(error, self.folder):
                raise EdgecError(
                    f"The disk is full: {name} could not be written.",
                    evidence=(f"{self.frames} frames were done", error.strerror or str(error)),
                    remedy="free some space, choose a path on another disk, or take fewer frames with --every or --limit",
                ) from error
            raise EdgecError(
                f"{name} could not be written.", evidence=error.strerror or str(error), remedy="choose another path"
            ) from error


class FileSink(Sink):
    """A single file, which appears when it is finished."""

    @property
    def unfinished(self) -> Path:
        """The path of the file until then."""
        return self.work / self.path.name

    def publish(self, note: str = "") -> Written:
        """Move the unfinished file to its path."""
        size = self.unfinished.stat().st_size
        publish(self.unfinished, Path(os.path.realpath(self.path)))
        return Written(self.path, self.frames, size, note)


class FolderSink(Sink):
    """A file for each frame, which appears when it is whole."""

    suffix: str

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._bytes = 0

    @property
    def folder(self) -> Path:
        """The folder itself."""
        return Path(os.path.realpath(self.path))

    def __enter__(self) -> Sink:
        self._new = not self.folder.exists()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        if self._new and not self.frames:
            with suppress(OSError):
                self.folder.rmdir()

    def publish(self, name: str) -> None:
        """Move the file of this name from `work` into the folder."""
        self._bytes += (self.work / name).stat().st_size
        (self.work / name).replace(self.folder / name)  # not flushed: there is one every few milliseconds
        self.frames += 1

    def name_of(self, done: Done) -> str:
        """A file's name for a frame. Names sort as the frames do."""
        stem = re.sub(r"[^A-Za-z0-9]+", "-", re.sub(r"\.[A-Za-z0-9]+(?=$|#)", "", done.name)).strip("-")
        return f"{done.number:06d}-{stem[-_LONGEST:].strip('-') or 'frame'}{self.suffix}"

    def finish(self) -> Written:
        """Every file is whole already."""
        return Written(self.path, self.frames, self._bytes)
