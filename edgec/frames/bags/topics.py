"""A camera's topic in a bag: which one is meant, when each of its messages was recorded, and which cannot be read."""

from __future__ import annotations

import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from edgec.errors import CalibrationError
from edgec.frames.bags import images
from edgec.frames.bags.formats import UnusableBag
from edgec.frames.bags.opening import Bag, Channel, open_bag, reason_of, remedy_for
from edgec.frames.pictures import damaged
from edgec.frames.types import Pixels, Skipped
from edgec.untrusted import printable

_MOST_GAPS = 64
_LEAST_STEP_NS = 1_000_000
_FAR_NS = 1 << 62
_LISTED = 12


@dataclass(frozen=True)
class CameraTopic:
    """A topic with pictures, read once from start to end. `times` are when its messages were recorded, in ns, in order;
    `skipped` are stretches of time whose messages cannot be read."""

    path: Path
    topic: str
    type: str
    times: tuple[int, ...] = field(repr=False)
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def frames(self) -> int:
        """Messages that can be read."""
        return len(self.times)

    @property
    def rate(self) -> float:
        """Messages a second; 0 if there is one only, or all have one time."""
        span = self.times[-1] - self.times[0]
        return (len(self.times) - 1) * 1e9 / span if span > 0 else 0.0

    @cached_property
    def in_order(self) -> bool:
        """Whether no message has an earlier time than the one before."""
        return all(earlier <= later for earlier, later in zip(self.times, self.times[1:], strict=False))


def survey(path: Path, name: str, topic: str = "") -> CameraTopic:
    """Opens a bag, finds the camera's topic (the only one, or `topic`), and reads all its messages; pictures are not decoded.

    Raises `UnusableBag` for a bag that cannot be read or has no such topic, `CalibrationError` if there are several and none is
    named, and `MissingPackage`.
    """
    bag = open_bag(path)
    try:
        channel = _chosen(bag, name, topic)
        times: list[int] = []
        skipped: list[Skipped] = []
        for each in _messages(bag, channel.topic, lambda data: _require_usable(data, bag, channel)):
            if isinstance(each, int):
                times.append(each)
            else:
                skipped.append((f"{name}{channel.topic}", each.text(times[0] if times else None)))
        if not times:
            reasons = [bag.lost, *(reason for _, reason in skipped)]
            text = "; ".join([f"no message of {printable(channel.topic)} can be read", *filter(None, reasons)])
            raise UnusableBag(text, remedy_for(path))
        notes = _notes(bag, path, name, channel.topic, times)
    finally:
        bag.close()
    return CameraTopic(path, channel.topic, channel.type, tuple(times), tuple(skipped), notes)


class Player:
    """Reads pictures of any number of topics, with one bag open at a time. Reading in order reads each message once."""

    def __init__(self) -> None:
        self._topic: CameraTopic | None = None
        self._bag: Bag | None = None
        self._messages: Iterator[tuple[int, bytes]] = iter(())
        self._next = 0
        self._closing: Callable[[], object] = _nothing

    def read(self, topic: CameraTopic, index: int, name: str) -> Pixels:
        """The picture of message `index`. Raises `CalibrationError` naming it if it is damaged."""
        try:
            data = self._data(topic, index)
        except UnusableBag as error:
            raise damaged(name, str(error)) from error
        except Exception as error:  # over damaged bytes the decoders raise whatever they like
            self.close()
            raise damaged(name, f"the message cannot be read ({reason_of(error)})") from error
        assert self._bag is not None
        return images.decode(data, topic.type, name, ros1=self._bag.ros1)

    def close(self) -> None:
        """Closes the open bag, if there is one."""
        self._closing()
        self._topic, self._bag, self._messages, self._closing = None, None, iter(()), _nothing

    def _data(self, topic: CameraTopic, index: int) -> bytes:
        if self._topic is not topic:
            self.close()
            self._topic, self._bag = topic, open_bag(topic.path)
            self._closing = weakref.finalize(self, self._bag.close)
            self._next = -1
        message = None
        if index == self._next:
            with suppress(Exception):  # a stretch that cannot be read lies between the last message and this one
                message = next(self._messages, None)
        self._next = -1
        if message is None or message[0] != topic.times[index]:
            message = self._found(topic, index)
        self._next = index + 1
        return message[1]

    def _found(self, topic: CameraTopic, index: int) -> tuple[int, bytes]:
        assert self._bag is not None
        time = topic.times[index]
        before = index - (bisect_left(topic.times, time) if topic.in_order else topic.times.index(time))
        self._messages = self._bag.messages(topic.topic, time)
        for message in self._messages:
            if message[0] == time:
                if not before:
                    return message
                before -= 1
            elif topic.in_order:
                break
        raise UnusableBag("the bag has changed since it was opened")


@dataclass(frozen=True)
class _Gap:
    """Messages after one time and before another cannot be read; None is the bag's beginning or end."""

    after: int | None
    before: int | None
    reason: str

    def text(self, first: int | None) -> str:
        began = "from the beginning" if self.after is None or first is None else f"after {(self.after - first) / 1e9:.3f} s"
        ends = "to the end" if self.before is None else f"for at most {(self.before - (self.after or self.before)) / 1e9:.3f} s"
        return f"{began} and {ends}, messages cannot be read ({self.reason})"


def _messages(bag: Bag, topic: str, check: Callable[[bytes], None]) -> Iterator[int | _Gap]:
    """The time of each message, in order, and gaps. `check` is called with the first message."""
    start: int | None = None
    last: int | None = None
    first = True
    for _ in range(_MOST_GAPS):
        try:
            for time, data in bag.messages(topic, start):
                if first:
                    check(data)
                    first = False
                last = time
                yield time
            return
        except (UnusableBag, CalibrationError):
            raise
        except Exception as error:  # over damaged bytes the decoders raise whatever they like
            start = _readable_again(bag, topic, 0 if last is None else last + 1)
            yield _Gap(last, start, reason_of(error))
        if start is None:
            return
    yield _Gap(last, None, f"over {_MOST_GAPS} stretches are damaged")


def _readable_again(bag: Bag, topic: str, after: int) -> int | None:
    """A time from which on messages can be read again, to a millisecond the earliest; None if there is none."""
    failing, step = after, _LEAST_STEP_NS
    while not (state := _state(bag, topic, failing + step)):
        failing, step = failing + step, step * 2
        if failing > _FAR_NS:
            return None
    working = failing + step
    while working - failing > _LEAST_STEP_NS:
        middle = (failing + working) // 2
        here = _state(bag, topic, middle)
        failing, working, state = (failing, middle, here) if here else (middle, working, state)
    return working if state == "messages" else None


def _state(bag: Bag, topic: str, start: int) -> str:
    """`messages` if the first one from `start` on can be read, `none` if there are none, empty if that fails."""
    try:
        return "none" if next(bag.messages(topic, start), None) is None else "messages"
    except Exception:  # over damaged bytes the decoders raise whatever they like
        return ""


def _chosen(bag: Bag, name: str, topic: str) -> Channel:
    cameras = [channel for channel in bag.channels if channel.type in images.TYPES]
    listed = [f"{printable(each.topic)}: {each.type.replace('/msg/', '/')}, {each.count:,} messages" for each in cameras]
    shown = [*listed[:_LISTED], *([f"and {len(listed) - _LISTED} more"] if len(listed) > _LISTED else [])]
    if not cameras:
        others = sorted({each.type for each in bag.channels})[:_LISTED]
        raise UnusableBag(
            f"no topic has pictures; its types are {', '.join(map(printable, others)) or 'none'}"
            + (f" ({bag.lost})" if bag.lost else ""),
            "record the camera's topic, of type sensor_msgs/Image or sensor_msgs/CompressedImage",
        )
    if topic:
        named = [each for each in cameras if each.topic.strip("/") == topic.strip("/")]
        if not named:
            raise UnusableBag(f"no topic {printable(topic)} with pictures; it has {'; '.join(shown)}", "name one of those topics")
        return named[0]
    with_messages = [each for each in cameras if each.count]
    if len(with_messages) > 1:
        raise CalibrationError(
            f"The bag {printable(name)} has pictures on several topics.",
            evidence=shown,
            remedy='name one: --topic NAME, or topic = "NAME" for its source in a manifest (.toml)',
        )
    return (with_messages or cameras)[0]


def _require_usable(data: bytes, bag: Bag, channel: Channel) -> None:
    try:
        images.check(data, channel.type, ros1=bag.ros1)
    except images.Unsupported as error:
        raise UnusableBag(f"{printable(channel.topic)}: {error}", error.remedy) from error


def _notes(bag: Bag, path: Path, name: str, topic: str, times: list[int]) -> tuple[str, ...]:
    notes = []
    if bag.lost:
        span = (times[-1] - times[0]) / 1e9
        notes.append(
            f"{name} is cut short or damaged ({bag.lost}); what can be read is used: {len(times):,} messages of "
            f"{printable(topic)} over {span:.1f} s"
        )
    files = sorted(path.glob("*.db3")) if path.is_dir() else [path] if path.suffix.lower() == ".db3" else []
    for file in files:
        log = file.with_name(f"{file.name}-wal")
        if log.is_file() and log.stat().st_size:
            notes.append(
                f"the recording's last messages are in {printable(log.name)} and are not read: bring them into the bag with "
                f"`sqlite3 {printable(file.name)} 'PRAGMA wal_checkpoint(TRUNCATE)'`"
            )
    return tuple(notes)


def _nothing() -> None:
    """There is nothing to close."""
