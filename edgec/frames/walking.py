"""Finds the frame files in folders. A search is bounded, and never leaves the folder that the user gave."""

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
from edgec.frames import raw
from edgec.frames.bags.formats import METADATA, is_bag_folder, is_storage
from edgec.frames.collecting import File, is_frame_file, name_of, natural
from edgec.frames.pictures import system_reason
from edgec.frames.types import Skipped
from edgec.untrusted import printable

MOST_ENTRIES = 1_000_000
"""Files and folders that are visited for one set."""
MOST_DEPTH = 64

ABSENT = "no such file or directory"
_SYSTEM = ("/proc", "/sys", "/dev")
_MEMORY = "/dev/shm"  # noqa: S108 - a place for files like any other
_GLOB = frozenset("*?[")
_SHOWN = 6
_DUMPS = f'say its format, as in --raw-format {raw.EXAMPLE}, or raw = "…" for its source in a manifest (.toml)'
_MOSAIC = "demosaic it, as the robot's camera pipeline does, and store PNG: edgec does not know the sensor's colours"
_REMEDIES = {
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"), "unpack it, and give the folder"),
    ".zstd": "give the bag's whole folder, with its metadata.yaml, or unpack the file with `zstd -d` first",
    ".active": "rename it, so that it ends in .bag: it is a recording that was not ended, and edgec reads what is whole in it",
    **dict.fromkeys(raw.SUFFIXES, _DUMPS),
    **dict.fromkeys((".dng", ".cr2", ".nef", ".arw", ".bayer", ".rggb", ".bggr", ".grbg", ".gbrg"), _MOSAIC),
    ".heic": "convert it to JPEG, as with `heif-convert IN.heic OUT.jpg`",
    ".heif": "convert it to JPEG, as with `heif-convert IN.heif OUT.jpg`",
    ".avif": "convert it to PNG, as with ImageMagick's `magick IN.avif OUT.png`",
    ".gif": "convert it to PNG, as with ImageMagick's `magick IN.gif OUT.png`",
    ".jxl": "convert it to PNG, as with `djxl IN.jxl OUT.png`",
    ".exr": "convert it to PNG with 8 bits, as the camera would give it",
}
CONVERT = "convert them to JPEG or PNG, as with `heif-convert` or ImageMagick's `magick mogrify -format png`"


def remedy_for(path: Path, otherwise: str) -> str:
    """What to do with a file that holds no frames that edgec reads, by its suffix."""
    return _REMEDIES.get(path.suffix.lower(), otherwise)


def stat_of(path: Path) -> os.stat_result | str:
    """The status of what a path leads to, or why there is none: `ABSENT`, or the system's reason, such as a name too long."""
    try:
        return path.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return ABSENT
        return system_reason(error)
    except ValueError as error:
        return str(error)


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder. Never raises."""
    status = stat_of(path)
    return not isinstance(status, str) and stat.S_ISDIR(status.st_mode)


def is_link(path: Path) -> bool:
    """Whether a path is a symbolic link, also a broken one. Never raises."""
    try:
        return path.is_symlink()
    except (OSError, ValueError):
        return False


@dataclass
class Walk:
    """One search, over any number of folders, which share its bounds.

    `skipped` are folders that cannot be listed, and files whose names differ only in how Unicode composes them. `others` counts
    files that hold no frames, by suffix; `outside` counts links to folders elsewhere. `dumps` if raw dumps count as frame files.
    """

    dumps: bool = False
    skipped: list[Skipped] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    outside: int = 0
    _entries: int = 0

    def files_in(self, folder: Path, root: Path) -> list[File]:
        """Pictures and recordings in the folder and below it, in natural order; a folder that is a ROS 2 bag counts as one, and
        its files do not. Hidden ones are left out; links to folders inside are followed, once each.

        Raises `CalibrationError` if the folder holds too much, or is one of the system's.
        """
        top = os.path.realpath(folder)
        _require_searchable(top, folder)
        files: dict[str, File] = {}
        visited = {top}
        pending, links = [(os.fspath(folder), 0)], list[tuple[str, int]]()
        while pending or links:
            if not pending:  # links last, so that a file has the name of the folder that it is really in
                here, depth = links.pop(0)
                if os.path.realpath(here) in visited:
                    continue
                visited.add(os.path.realpath(here))
            else:
                here, depth = pending.pop()
            entries = self._entries_of(here, root)
            bag = is_bag_folder(entry.name for entry in entries)
            if bag:
                whole = Path(here).resolve()
                name = name_of(Path(here), root)
                files[name] = File(Path(here), name_of(whole, whole.parent) if name == "." else name)
            for entry in entries:
                if entry.name.startswith(".") or (bag and (is_storage(entry.name) or entry.name == METADATA)):
                    continue
                linked = entry.is_symlink()
                if not _is_directory(entry):
                    self._add(Path(entry.path), root, files)
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
        return sorted(files.values(), key=lambda file: (natural(file.name), file.name))

    def matching(self, pattern: str, root: Path) -> list[Path]:
        """The paths below `root` that match a glob pattern, sorted: `*`, `?` and `[…]` in names, `**` for any folders. Not
        Python's `glob`, which has no bounds and follows links out of the folder. Raises `CalibrationError` for what is no
        pattern."""
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
        """What was left out that the user may have meant, as sentences for people."""
        notes = []
        if self.others:
            notes.append(f"left out by their suffix: {self.counted()}")
            stated = [suffix for suffix in self.others if suffix in raw.SUFFIXES]
            if stated:
                notes.append(f"{printable(stated[0])} files are raw dumps if you {_DUMPS}")
        if self.outside:
            folders = "folder was" if self.outside == 1 else "folders were"
            notes.append(f"{self.outside} linked {folders} left out: the link leads out of the folder that was given")
        return tuple(notes)

    def counted(self) -> str:
        """The files that were left out, by suffix: `12 .heic, 1 .txt`."""
        most = self.others.most_common()
        shown = [f"{count} {printable(suffix)[:20] or 'without a suffix'}" for suffix, count in most[:_SHOWN]]
        rest = sum(count for _, count in most[_SHOWN:])
        return ", ".join([*shown, *([f"{rest} others"] if rest else [])])

    def _add(self, path: Path, root: Path, files: dict[str, File]) -> None:
        if not is_frame_file(path, dumps=self.dumps):
            self.others[path.suffix.lower()] += 1
            return
        file = File(path, name_of(path, root))
        if file.name in files:
            self.skipped.append((file.name, "another file's name differs only in how Unicode composes it"))
        else:
            files[file.name] = file

    def _entries_of(self, folder: str, root: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                listed = []
                for entry in entries:
                    self._count(folder)
                    listed.append(entry)
        except OSError as error:
            self.skipped.append((name_of(Path(folder), root), f"cannot be listed: {system_reason(error)}"))
            return []
        return sorted(listed, key=lambda entry: (natural(entry.name), entry.name))

    def _count(self, folder: str) -> None:
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            raise CalibrationError(
                f"There is too much to search: over {MOST_ENTRIES:,} files and folders.",
                evidence=f"the last one is in {printable(folder)}",
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
