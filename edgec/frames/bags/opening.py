"""Opens a bag: by `rosbags`, and if it refuses the bag, what can be salvaged of it."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgec import extras
from edgec.frames.bags.formats import METADATA, UnusableBag, is_storage, parts_of
from edgec.frames.bags.rows import Rows
from edgec.frames.bags.salvage import salvage_mcap, salvage_ros1
from edgec.untrusted import TEXT_LIMIT, printable

if TYPE_CHECKING:
    from rosbags.rosbag1 import Reader as Reader1
    from rosbags.rosbag2 import Reader as Reader2

_ZSTD = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class Channel:
    """A topic of a bag: its message type as ROS 2 writes it (`sensor_msgs/msg/Image`), and how many messages the bag lists."""

    topic: str
    type: str
    count: int


class Bag(ABC):
    """An open bag. `lost` is why a part of it cannot be read; empty if it is whole as far as its index tells."""

    ros1: bool
    lost: str = ""

    def __init__(self) -> None:
        self._running: Generator[tuple[int, bytes], None, None] | None = None
        self._failed = False

    @property
    @abstractmethod
    def channels(self) -> list[Channel]:
        """What it holds, by topic."""

    def messages(self, topic: str, start: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Time of recording in ns and bytes of each of the topic's messages, in time, from `start` on. Ends the iterator that it
        returned before. Raises whatever damaged bytes make the decoders raise."""
        self._end()
        if self._failed:
            self._reopen()
            self._failed = False
        self._running = self._messages(topic, start)
        return self._running

    def close(self) -> None:
        """Closes its files, after the iterator over its messages: SQLite does not close a file that is being read."""
        self._end()
        self._close()

    def _end(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None

    def _messages(self, topic: str, start: int | None) -> Generator[tuple[int, bytes], None, None]:
        try:
            for time, data in self._stored(topic, start):
                yield time, data if self.ros1 else _unpacked(data)
        except Exception:
            self._failed = True
            raise

    def _reopen(self) -> None:  # noqa: B027 - not all need it
        """After damage was met: what reads the bag may then be in any state."""

    @abstractmethod
    def _stored(self, topic: str, start: int | None) -> Iterator[tuple[int, bytes]]:
        """As they are stored."""

    @abstractmethod
    def _close(self) -> None:
        """Closes its files."""


class _Whole(Bag):
    """A bag that `rosbags` opens."""

    def __init__(self, reader: Reader1 | Reader2, *, ros1: bool, lost: str = "") -> None:
        super().__init__()
        self._reader: Any = reader
        self.ros1, self.lost = ros1, lost
        reader.open()

    @property
    def channels(self) -> list[Channel]:
        listed: dict[tuple[str, str], int] = {}
        for each in self._reader.connections:
            listed[each.topic, each.msgtype] = listed.get((each.topic, each.msgtype), 0) + each.msgcount
        return [Channel(topic, kind, count) for (topic, kind), count in listed.items()]

    def _stored(self, topic: str, start: int | None) -> Iterator[tuple[int, bytes]]:
        connections = [each for each in self._reader.connections if each.topic == topic]
        for _, time, data in self._reader.messages(connections=connections, start=start):
            yield time, bytes(data)

    def _reopen(self) -> None:
        self._reader.close()
        self._reader.open()

    def _close(self) -> None:
        self._reader.close()


class _Rows(Bag):
    """A `.db3` of which only rows can be read."""

    ros1 = False

    def __init__(self, path: Path, lost: str) -> None:
        super().__init__()
        self.lost, self._rows = lost, Rows(path)

    @property
    def channels(self) -> list[Channel]:
        return [Channel(name, kind, self._rows.count(number)) for number, (name, kind) in self._rows.topics.items()]

    def _stored(self, topic: str, start: int | None) -> Iterator[tuple[int, bytes]]:
        for number, (name, _) in self._rows.topics.items():
            if name == topic:
                yield from self._rows.messages(number, start)

    def _close(self) -> None:
        self._rows.close()


class _Parts(Bag):
    """The files of a bag whose folder does not open as a whole, each on its own."""

    ros1 = False

    def __init__(self, bags: Sequence[Bag], lost: str) -> None:
        super().__init__()
        self._bags, self.lost = bags, lost

    @property
    def channels(self) -> list[Channel]:
        listed: dict[tuple[str, str], int] = {}
        for each in (channel for bag in self._bags for channel in bag.channels):
            listed[each.topic, each.type] = listed.get((each.topic, each.type), 0) + each.count
        return [Channel(topic, kind, count) for (topic, kind), count in listed.items()]

    def _stored(self, topic: str, start: int | None) -> Iterator[tuple[int, bytes]]:
        yield from merge(*(bag.messages(topic, start) for bag in self._bags), key=lambda message: message[0])

    def _close(self) -> None:
        for bag in self._bags:
            bag.close()


def open_bag(path: Path) -> Bag:
    """Raises `UnusableBag` with the reason if nothing can be read, and `MissingPackage` with the line that installs `rosbags`."""
    extras.require("ros", f"Reading the bag {printable(path.name)}")
    return _open_folder(path) if path.is_dir() else _open_file(path)


def reason_of(error: BaseException) -> str:
    """What `rosbags`, or a decoder that it calls, says of damaged bytes, as the end of a sentence."""
    if isinstance(error, MemoryError):
        return "too large for this machine's memory"
    text = " ".join(printable(str(error)).split())[:200].rstrip(".")
    kind = type(error).__name__
    return text if kind in ("ReaderError", "UnusableBag") and text else f"{kind}: {text}" if text else kind


def _open_file(path: Path) -> Bag:
    from rosbags.rosbag1 import Reader as Reader1
    from rosbags.rosbag2 import Reader as Reader2

    suffix = path.suffix.lower()
    try:
        return _Whole(Reader1(path), ros1=True) if suffix == ".bag" else _Whole(Reader2(_with_suffix(path)), ros1=False)
    except Exception as error:  # over damaged bytes it raises whatever its decoders do
        reason = reason_of(error)
    try:
        if suffix == ".db3":
            return _Rows(path, reason)
        pieces: Any = salvage_ros1(path) if suffix == ".bag" else salvage_mcap(path)
        if pieces is not None:
            return _Whole(Reader1(pieces) if suffix == ".bag" else Reader2(pieces), ros1=suffix == ".bag", lost=reason)
    except Exception as error:
        if isinstance(error, sqlite3.Error) and path.stat().st_size == 0:
            reason = "empty file"
    raise UnusableBag(f"cannot be read as a bag: {reason}", remedy_for(path))


def _with_suffix(path: Path) -> Path:
    """`rosbags` knows suffixes in small letters only; it opens `WALK.MCAP` by another name for the same file."""
    from edgec.frames.bags.pieces import PiecesPath

    if path.suffix == path.suffix.lower() or path.suffix.lower() != ".mcap":
        return path
    renamed: Any = PiecesPath(path, [(0, path.stat().st_size)])
    return renamed  # type: ignore[no-any-return]


def _open_folder(path: Path) -> Bag:
    from rosbags.rosbag2 import Reader as Reader2

    try:
        if (path / METADATA).stat().st_size > TEXT_LIMIT:
            raise UnusableBag(f"its {METADATA} is larger than {TEXT_LIMIT >> 10} KiB")
        return _Whole(Reader2(path), ros1=False)
    except Exception as error:
        reason = reason_of(error)
    bags: list[Bag] = []
    lost = [reason]
    for part in parts_of(path):
        if part.name == METADATA or not is_storage(part.name):
            continue
        try:
            if part.suffix.lower() == ".zstd":
                raise UnusableBag("it is compressed, and the bag as a whole does not open")
            bags.append(_open_file(part))
        except UnusableBag as error:
            lost.append(f"{printable(part.name)}: {error}")
    if not bags:
        raise UnusableBag(f"cannot be read as a bag: {'; '.join(lost)}", remedy_for(path))
    return _Parts(bags, "; ".join(dict.fromkeys((*lost, *(bag.lost for bag in bags if bag.lost)))))


def _unpacked(message: bytes) -> bytes:
    """A message that is compressed by itself, unpacked. The metadata of the bag's folder says which are, but may be lost; CDR
    never begins like zstd."""
    if not message.startswith(_ZSTD):
        return message
    from rosbags.rosbag2 import reader

    decoder: Any = reader
    return bytes(decoder.zstd.decompress(message))


def remedy_for(path: Path) -> str:
    """What to do about a bag that cannot be read."""
    if path.suffix.lower() == ".bag":
        return "look at it with `rosbag info`, and mend it with `rosbag reindex`; or record again"
    return "look at it with `ros2 bag info`, and mend it with `ros2 bag reindex` or `mcap recover`; or record again"
