"""Brings home the frames that boards kept because they are unlike the calibration frames (`edgec.onboard.ring`).

A frame is stored when its content is what its line says, under DIR/BOARD. What is there already is not fetched again, so a fetch
that broke off goes on. On boards nothing is removed unless the user says so, and then only what is here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgec.boards.commands import Board
from edgec.boards.results import save
from edgec.boards.running import capture
from edgec.boards.ssh_errors import misbehaves
from edgec.errors import BoardError, EdgecError, RequestError
from edgec.fleet.file import Place
from edgec.fleet.working import Ended, each
from edgec.onboard.ring import LINE
from edgec.records.kept import LIMIT_BYTES, KeptFrame, line_of, parse_line
from edgec.records.reading import printable
from edgec.untrusted import Refused

FOLDER = "drift-frames"
"""Where frames are looked for, in edgec's folder on a board."""
MOST_FRAMES = 10_000
_MOST_LISTED = 32 << 20
_BATCH_BYTES, _BATCH_FRAMES = 8 << 20, 64
"""Sent by one command: a slow link takes a minute for them."""
_HEAD = 24
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")

_PROGRAM = b"""
import os, re, sys
verb, folder, names, out = sys.argv[1], sys.argv[2], sys.argv[3:], sys.stdout.buffer
folder = folder or os.path.join(os.environ.get("XDG_DATA_HOME") or "~/.local/share", "edgec", "drift-frames")
folder = os.path.expanduser(folder)
def path(name, suffix=".png"):
    return os.path.join(folder, name[:-4] + suffix)
if verb == "list":
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        names = []
    for name in sorted(names):
        if re.fullmatch(r"frame-[0-9]{1,20}\\.png", name):
            try:
                with open(path(name, ".json"), "rb") as file:
                    out.write(file.read(16384).strip().replace(b"\\n", b" ") + b"\\n")
            except FileNotFoundError:
                pass
elif verb == "send":
    for name in names:
        try:
            with open(path(name), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                out.write(b"%d\\n" % size + file.read(size))
        except FileNotFoundError:
            out.write(b"-1\\n")
elif verb == "remove":
    for name in names:
        for suffix in (".png", ".json"):
            try:
                os.unlink(path(name, suffix))
            except FileNotFoundError:
                pass
"""
"""Runs on the board. `list` prints the lines of the frames, `send` each frame's size and content, -1 for one that is gone."""


@dataclass
class Fetched:
    """Of one board: numbers of frames, and the bytes of `new` ones. `gone` made room for others meanwhile; `differing` are not
    what their lines say, and stay on the board; `unusable` lines are not a frame's."""

    there: int = 0
    new: int = 0
    size_bytes: int = 0
    gone: int = 0
    differing: list[str] = field(default_factory=list)
    unusable: int = 0
    removed: int = 0


@dataclass(frozen=True)
class Answer:
    """What a board's frames came to, or the error that it ended with."""

    place: Place
    result: Fetched | EdgecError


def fetch_frames(places: Sequence[Place], output: Path, folder: str, *, remove: bool, at_once: int) -> list[Answer]:
    """Fetch the frames in `folder` of each board (empty: `FOLDER` in edgec's own) into folders of `output`. With `remove`, boards
    then remove those that are here.

    Raises `RequestError` if two boards would have one folder; a board's error is in its answer.
    """
    folders = {place.key: output / _label(place) for place in places}
    if len(set(folders.values())) < len(folders):
        raise RequestError("Two boards of the fleet would have one folder.", remedy="give them names in FLEET.toml")

    def work(place: Place, board: Board) -> Fetched:
        there = folder or (f"{place.directory}/{FOLDER}" if place.directory else "")
        return _Fetch(board, there, folders[place.key]).run(remove=remove)

    def end(ended: Ended[Fetched]) -> Answer:
        return Answer(ended.place, ended.result)

    return each(places, work, end, at_once=at_once)


class _Fetch:
    """Of one board."""

    def __init__(self, board: Board, there: str, here: Path) -> None:
        self._board, self._there, self._here = board, there, here
        self._done = Fetched()

    def run(self, *, remove: bool) -> Fetched:
        frames = self._listed()
        self._done.there = len(frames)
        missing = [frame for frame in frames if not self._has(frame)]
        if missing:
            self._make_folder()
        for batch in _batches(missing):
            self._fetch(batch)
        if remove:
            present = [frame.file for frame in frames if self._has(frame)]
            for start in range(0, len(present), _BATCH_FRAMES):
                self._call("remove", present[start : start + _BATCH_FRAMES], LIMIT_BYTES)
            self._done.removed = len(present)
        return self._done

    def _listed(self) -> list[KeptFrame]:
        lines = self._call("list", (), _MOST_LISTED).splitlines()
        if len(lines) > MOST_FRAMES:
            raise misbehaves(self._board.connection.address, [f"it lists {len(lines):,} frames"])
        frames: dict[str, KeptFrame] = {}
        for line in lines:
            try:
                frame = parse_line(line)
            except Refused:
                self._done.unusable += 1
            else:
                frames[frame.file] = frame
        return list(frames.values())

    def _fetch(self, batch: Sequence[KeptFrame]) -> None:
        most = sum(frame.bytes + _HEAD for frame in batch)
        sent = memoryview(self._call("send", [frame.file for frame in batch], most))
        for frame in batch:
            head, _, _ = bytes(sent[:_HEAD]).partition(b"\n")
            if head == b"-1":
                self._done.gone += 1
                sent = sent[3:]
                continue
            if not head.isdigit() or len(head) + 1 + int(head) > len(sent):
                raise misbehaves(self._board.connection.address, ["it sends something else than the frames that it lists"])
            content, sent = sent[len(head) + 1 :][: int(head)], sent[len(head) + 1 + int(head) :]
            if hashlib.sha256(content).hexdigest() != frame.sha256:
                self._done.differing.append(frame.file)
                continue
            path = self._here / frame.file
            save(path.with_suffix(LINE), frame.model_dump_json().encode() + b"\n")
            save(path, bytes(content))
            self._done.new += 1
            self._done.size_bytes += len(content)

    def _has(self, frame: KeptFrame) -> bool:
        """Whether it was fetched before. The PNG comes last, and appears whole."""
        path = self._here / frame.file
        line = line_of(path)
        return line is not None and line.sha256 == frame.sha256 and path.is_file() and path.stat().st_size == frame.bytes

    def _make_folder(self) -> None:
        try:
            self._here.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EdgecError(
                f"{self._here} cannot be written.", evidence=error.strerror or str(error), remedy="choose another folder with -o"
            ) from error

    def _call(self, verb: str, names: Sequence[str], most_bytes: int) -> bytes:
        try:
            return capture(self._board.connection, _PROGRAM, [verb, self._there, *names], most_bytes)
        except BoardError as error:
            error.evidence = (f"to {verb} frames in {printable(self._there) or FOLDER}", *error.evidence)
            raise


def _batches(frames: Iterable[KeptFrame]) -> Iterator[list[KeptFrame]]:
    batch: list[KeptFrame] = []
    for frame in frames:
        if batch and (len(batch) == _BATCH_FRAMES or sum(each.bytes for each in batch) + frame.bytes > _BATCH_BYTES):
            yield batch
            batch = []
        batch.append(frame)
    if batch:
        yield batch


def _label(place: Place) -> str:
    """A name for the board's folder: its own where that can be one."""
    if _PLAIN.fullmatch(place.name):
        return place.name
    label = place.address.label
    return f"_{label}" if label.startswith(".") else label
