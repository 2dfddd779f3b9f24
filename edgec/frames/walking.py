"""Which files of folders are frames. A search is bounded in what it looks at, and never leaves the folder that was named."""

from __future__ import annotations

import errno
import fnmatch
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgec.errors import CalibrationError
from edgec.frames.collecting import File, is_frame_file, name_of, natural
from edgec.frames.types import Skipped
from edgec.untrusted import printable

MOST_ENTRIES = 1_000_000
"""Files and folders that one set may make us look at."""
MOST_DEPTH = 64

ABSENT = "no such file or directory"
_SYSTEM = ("/proc", "/sys", "/dev")
_MEMORY = "/dev/shm"  # noqa: S108 - a place for files like any other
_GLOB = frozenset("*?[")
_SHOWN = 6
_ARCHIVES = {
    ".zip": "unpack it, and give the folder",
    ".tar": "unpack it, and give the folder",
    ".gz": "unpack it, and give the folder",
    ".tgz": "unpack it, and give the folder",
    ".bz2": "unpack it, and give the folder",
    ".xz": "unpack it, and give the folder",
    ".zst": "unpack it, and give the folder",
    ".7z": "unpack it, and give the folder",
    ".rar": "unpack it, and give the folder",
    ".bag": "this edgec reads no robot's logs: export the camera's topic as pictures, and give their folder",
    ".mcap": "this edgec reads no robot's logs: export the camera's topic as pictures, and give their folder",
    ".db3": "this edgec reads no robot's logs: export the camera's topic as pictures, and give their folder",
    ".heic": "convert it to JPEG, as with `heif-convert IN.heic OUT.jpg`",
    ".heif": "convert it to JPEG, as with `heif-convert IN.heif OUT.jpg`",
    ".avif": "convert it to PNG, as with ImageMagick's `magick IN.avif OUT.png`",
    ".gif": "convert it to PNG, as with ImageMagick's `magick IN.gif OUT.png`",
    ".jxl": "convert it to PNG, as with `djxl IN.jxl OUT.png`",
    ".exr": "convert it to PNG with 8 bits, as the camera would give it",
}
CONVERT = "convert them to JPEG or PNG, as with `heif-convert` or ImageMagick's `magick mogrify -format png`"


def remedy_for(path: Path, otherwise: str) -> str:
    """What to do with a file of another kind than frames."""
    return _ARCHIVES.get(path.suffix.lower(), otherwise)


def stat_of(path: Path) -> os.stat_result | str:
    """Of what a path leads to, or why that cannot be told: `ABSENT`, a name too long, no character of a name."""
    try:
        return path.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return ABSENT
        return (error.strerror or str(error)).lower()
    except ValueError as error:
        return str(error)


def is_folder(path: Path) -> bool:
    found = stat_of(path)
    return not isinstance(found, str) and stat.S_ISDIR(found.st_mode)


def is_link(path: Path) -> bool:
    """Also of one that leads nowhere."""
    try:
        return path.is_symlink()
    except (OSError, ValueError):
        return False


@dataclass
class Walk:
    """One search, over any number of folders, which share its bounds.

    `skipped` are folders that cannot be listed, and files whose names are the same but for how Unicode spells them. `others`
    counts files that are neither pictures nor videos, by suffix; `outside` folders that links lead to elsewhere.
    """

    skipped: list[Skipped] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    outside: int = 0
    _entries: int = 0

    def files_in(self, folder: Path, root: Path) -> list[File]:
        """Pictures and videos of the folder and those below it, in natural order. Hidden ones are not looked at; links to folders
        are followed where they stay in the folder, once each.

        Raises `CalibrationError` if it holds too much, or is one of the system's own.
        """
        top = os.path.realpath(folder)
        _require_searchable(top, folder)
        found: dict[str, File] = {}
        visited = {top}
        pending, links = [(os.fspath(folder), 0)], list[tuple[str, int]]()
        while pending or links:
            if not pending:  # links last, so that a file goes by the name of the folder that it is in
                here, depth = links.pop(0)
                if os.path.realpath(here) in visited:
                    continue
                visited.add(os.path.realpath(here))
            else:
                here, depth = pending.pop()
            for entry in self._entries_of(here, root):
                if entry.name.startswith("."):
                    continue
                linked = entry.is_symlink()
                if not _is_directory(entry):
                    self._add(Path(entry.path), root, found)
                    continue
                real = os.path.realpath(entry.path)
                if linked and not (real + os.sep).startswith(top.rstrip(os.sep) + os.sep):
                    self.outside += 1
                elif _is_systems(real):
                    self.skipped.append((name_of(Path(entry.path), root), "one of the system's own folders"))
                elif linked:
                    links.append((entry.path, self._deeper(depth, entry.path)))
                elif real not in visited:
                    visited.add(real)
                    pending.append((entry.path, self._deeper(depth, entry.path)))
        return sorted(found.values(), key=lambda file: (natural(file.name), file.name))

    def matching(self, pattern: str, root: Path) -> list[Path]:
        """What a glob pattern matches below `root`, sorted: `*`, `?` and `[…]` in names, `**` for any folders. Raises
        `CalibrationError`."""
        parts = Path(pattern).parts
        if len(parts) > MOST_DEPTH or any("**" in part and part != "**" for part in parts) or "\0" in pattern:
            raise CalibrationError(
                f"{printable(pattern)[:200]!r} is not a glob pattern.",
                evidence=f"`**` stands for itself between slashes, and a pattern has at most {MOST_DEPTH} parts",
            )
        anchor = Path(pattern).anchor
        begin = root / anchor if anchor else root
        return sorted(set(self._matching(begin, parts[bool(anchor) :], 0, set())))

    def notes(self) -> tuple[str, ...]:
        """What was left out that the user may have meant."""
        told = []
        if self.others:
            told.append(f"left out by their suffix: {self.counted()}")
        if self.outside:
            folders = "folder was" if self.outside == 1 else "folders were"
            told.append(f"{self.outside} linked {folders} left out: the link leads out of the folder that was given")
        return tuple(told)

    def counted(self) -> str:
        """Of the files left out, how many of which suffix: `12 .heic, 1 .txt`."""
        most = self.others.most_common()
        shown = [f"{count} {printable(suffix)[:20] or 'without a suffix'}" for suffix, count in most[:_SHOWN]]
        rest = sum(count for _, count in most[_SHOWN:])
        return ", ".join([*shown, *([f"{rest} others"] if rest else [])])

    def _add(self, path: Path, root: Path, found: dict[str, File]) -> None:
        if not is_frame_file(path):
            self.others[path.suffix.lower()] += 1
            return
        file = File(path, name_of(path, root))
        if file.name in found:
            self.skipped.append((file.name, "another file's name is the same but for how Unicode spells it"))
        else:
            found[file.name] = file

    def _entries_of(self, folder: str, root: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                listed = []
                for entry in entries:
                    self._count(folder)
                    listed.append(entry)
        except OSError as error:
            reason = f"cannot be listed: {(error.strerror or str(error)).lower()}"
            self.skipped.append((name_of(Path(folder), root), reason))
            return []
        return sorted(listed, key=lambda entry: (natural(entry.name), entry.name))

    def _count(self, folder: str) -> None:
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            raise CalibrationError(
                f"There is too much to search: over {MOST_ENTRIES:,} files and folders.",
                evidence=f"the last that was looked at is in {printable(folder)}",
                remedy="give the folder that the pictures are in, or a list of their paths (.txt)",
            )

    def _deeper(self, depth: int, path: str) -> int:
        if depth >= MOST_DEPTH:
            raise CalibrationError(
                f"Folders are nested too deeply: over {MOST_DEPTH} levels.",
                evidence=f"{printable(path)[:200]}",
                remedy="give the folder that the pictures are in",
            )
        return depth + 1

    def _matching(self, folder: Path, parts: tuple[str, ...], depth: int, seen: set[tuple[str, int]]) -> Iterator[Path]:
        if (os.fspath(folder), len(parts)) in seen:
            return
        seen.add((os.fspath(folder), len(parts)))
        if not parts:
            yield folder
            return
        first, rest = parts[0], parts[1:]
        if first != "**" and _GLOB.isdisjoint(first):
            if not isinstance(stat_of(folder / first), str):
                yield from self._matching(folder / first, rest, depth, seen)
            return
        _require_searchable(os.path.realpath(folder), folder)
        if first == "**":
            yield from self._matching(folder, rest, depth, seen)
        if first == "**" and not rest:
            return  # a folder is searched whole
        for entry in self._entries_of(os.fspath(folder), folder):
            if first == "**":
                if _is_directory(entry) and not entry.is_symlink() and not entry.name.startswith("."):
                    yield from self._matching(Path(entry.path), parts, self._deeper(depth, entry.path), seen)
            elif fnmatch.fnmatchcase(entry.name, first):
                if not _is_directory(entry):
                    yield from [] if rest else [Path(entry.path)]
                elif entry.is_symlink() and not os.path.realpath(entry.path).startswith(os.path.realpath(folder)):
                    self.outside += 1
                else:
                    yield from self._matching(Path(entry.path), rest, self._deeper(depth, entry.path), seen)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_systems(real: str) -> bool:
    inside = any(real == place or real.startswith(f"{place}/") for place in _SYSTEM)
    return inside and real != _MEMORY and not real.startswith(f"{_MEMORY}/")


def _require_searchable(real: str, folder: Path) -> None:
    if real == Path(real).anchor or _is_systems(real):
        raise CalibrationError(
            f"The folder {printable(str(folder))} is not searched for pictures.",
            evidence="it is the whole file system" if real == Path(real).anchor else "it is one of the system's own folders",
            remedy="give the folder that the pictures are in",
        )
