"""Files that hold many frames: videos, bags, raw dumps. Which of their frames a set takes, and reading them one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgec.durable import sha256_of
from edgec.errors import CalibrationError, RequestError
from edgec.frames import raw, still, video
from edgec.frames.bags import topics
from edgec.frames.bags.formats import SUFFIXES as BAG_SUFFIXES
from edgec.frames.bags.formats import UnusableBag, parts_of
from edgec.frames.raw import RawFormat
from edgec.frames.sampling import evenly
from edgec.frames.types import Pixels, Skipped
from edgec.text import counted
from edgec.untrusted import printable


@dataclass(frozen=True)
class Reading:
    """What files do not say themselves: which topic of bags is meant, where there are several, and the format of raw dumps."""

    topic: str = ""
    raw: RawFormat | None = None


DEFAULT = Reading()


@dataclass(frozen=True)
class Recording:
    """A file that opens, and what was noticed in it. `source` names its frames' camera in the set."""

    content: video.Video | topics.CameraTopic | raw.Dump
    source: str
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def frames(self) -> int:
        """How many it holds."""
        return self.content.frames

    @property
    def rate(self) -> float:
        """Frames a second; 0 if that is not known."""
        return 0.0 if isinstance(self.content, raw.Dump) else self.content.rate

    def name_of(self, index: int) -> str:
        """The name of a frame in the set."""
        return f"{self.source}#{index:06d}"

    def order_of(self, index: int) -> int:
        """What puts a frame in its place among the others: in bags its time in ns, else its index."""
        return self.content.times[index] if isinstance(self.content, topics.CameraTopic) else index

    def time_of(self, index: int) -> float | None:
        """Seconds since the first frame, if that is known."""
        if isinstance(self.content, topics.CameraTopic):
            return (self.content.times[index] - self.content.times[0]) / 1e9
        return index / self.rate if self.rate else None

    def content_hash(self) -> str:
        """SHA-256 of the file, or of all files of a bag's folder, and of what the user stated about it. Raises `OSError`."""
        parts = parts_of(self.content.path)
        hashes = [sha256_of(part) for part in parts]
        stated = f"#{self.content.format}" if isinstance(self.content, raw.Dump) else ""
        if len(parts) == 1 and not stated:
            return hashes[0]
        return _sha256("\n".join(f"{part.name} {sha256}" for part, sha256 in zip(parts, hashes, strict=True)) + stated)


class UnusableRecording(Exception):
    """Why a file cannot be read as what its suffix says, and what to do about it."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.remedy = remedy


class Reader:
    """Reads frames of any number of recordings, with one of each kind open at a time."""

    def __init__(self) -> None:
        self._projector, self._player = video.Projector(), topics.Player()

    def read(self, recording: Recording, index: int, name: str) -> Pixels:
        """Frame `index`. Raises `CalibrationError` naming it if it is damaged."""
        content = recording.content
        if isinstance(content, video.Video):
            return self._projector.read(content, index, name)
        if isinstance(content, topics.CameraTopic):
            return self._player.read(content, index, name)
        return raw.read(content, index, name)

    def close(self) -> None:
        """Closes what is open."""
        self._projector.close()
        self._player.close()


def is_recording(path: Path, *, dumps: bool) -> bool:
    """Whether this is a video, a bag or, with `dumps`, a raw dump, by its suffix."""
    suffix = path.suffix.lower()
    return suffix in video.SUFFIXES | BAG_SUFFIXES or (dumps and suffix in raw.SUFFIXES)


def require_use(reading: Reading, *, bags: bool, dumps: bool) -> None:
    """Raises `RequestError` for what was said of bags or raw dumps if there are none."""
    unused = []
    if reading.topic and not bags:
        unused.append("--topic names a bag's topic, and no bag is used")
    if reading.raw and not dumps:
        unused.append(f"--raw-format is about raw dumps ({', '.join(sorted(raw.SUFFIXES))}), and none is used")
    if unused:
        raise RequestError("An option does not apply to these frames.", evidence=unused, remedy="leave it out")


def open_recording(path: Path, name: str, reading: Reading = DEFAULT) -> Recording:
    """Raises `UnusableRecording`, `MissingPackage`, and `CalibrationError` for a bag with several cameras of which none is
    named."""
    suffix = "" if path.is_dir() else path.suffix.lower()
    try:
        if suffix in video.SUFFIXES:
            video.require_decoder(name)
            return Recording(video.probe(path), name)
        if suffix in raw.SUFFIXES and reading.raw is not None:
            dump = raw.probe(path, reading.raw)
            return Recording(dump, name, _surplus(dump, name))
        topic = topics.survey(path, name, reading.topic)
        return Recording(topic, f"{name}{topic.topic}", topic.skipped, topic.notes)
    except (video.UnusableVideo, raw.UnusableDump) as error:
        raise UnusableRecording(str(error)) from error
    except UnusableBag as error:
        raise UnusableRecording(str(error), error.remedy) from error


def choose(recording: Recording, every: int | None) -> tuple[list[int], tuple[Skipped, ...], tuple[str, ...]]:
    """The indices of the frames to take, those among them that are damaged, and notes. With `every` each n-th frame; else of a
    video one in `default_stride`, and of bags and dumps as `edgec.frames.still` says."""
    content = recording.content
    if every is not None or isinstance(content, video.Video):
        stride = every or (content.default_stride() if isinstance(content, video.Video) else 1)
        return list(range(0, recording.frames, stride)), (), ()
    if isinstance(content, topics.CameraTopic) and content.in_order:
        candidates: Sequence[int] = still.by_time(content.times)
    else:
        candidates = evenly(range(recording.frames), still.MOST)
    reader = Reader()
    try:
        taken, left_out, damaged = still.by_motion(
            candidates, lambda index: reader.read(recording, index, recording.name_of(index)), recording.name_of
        )
    finally:
        reader.close()
    notes: tuple[str, ...] = ()
    if left_out:
        notes = (
            f"{printable(recording.source)}: {counted(left_out, 'frame')} of {len(candidates)} left out, as nothing had moved "
            "since the last one taken",
        )
    return taken, tuple(damaged), notes


def as_error(name: str, error: UnusableRecording) -> CalibrationError:
    """For a recording that the user named, and not one of many in a folder."""
    return CalibrationError(f"No frame can be read from {printable(name)}.", evidence=str(error), remedy=error.remedy)


def _surplus(dump: raw.Dump, name: str) -> tuple[Skipped, ...]:
    if not dump.surplus:
        return ()
    reason = f"{dump.surplus:,} bytes are no whole frame of {dump.format}: it is cut short, or that is not its format"
    return ((f"{name}#{dump.frames:06d}", reason),)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
