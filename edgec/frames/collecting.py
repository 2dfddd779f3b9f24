"""Files → frames: which files of a folder count, in which order, and which of them are one camera's."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from edgec.durable import sha256_of
from edgec.frames import pictures, video
from edgec.frames.types import Frame, Skipped

_LAST_NUMBER = re.compile(r"^(?P<before>.*?)(?P<number>\d+)(?P<after>\D*)$", re.DOTALL)


@dataclass(frozen=True)
class File:
    """A picture or a video, and its name in the set: its path from the set's root, with `/` on every system."""

    path: Path
    name: str

    @property
    def is_video(self) -> bool:
        return self.path.suffix.lower() in video.SUFFIXES


@dataclass(frozen=True)
class Place:
    """Where one frame is to be had. In a video, `order` is its index."""

    file: File
    source: str
    order: int
    video: video.Video | None = None


@dataclass
class Collection:
    """Frames in the order found, with what had to be left out."""

    frames: list[Frame] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def natural(text: str) -> list[tuple[int, str]]:
    """The key of an order in which `frame_9` comes before `frame_10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text) if part]


def name_of(path: Path, root: Path) -> str:
    """The same text on every machine for the same folder: relative, with `/`, in Unicode's composed form (macOS decomposes)."""
    return unicodedata.normalize("NFC", Path(os.path.relpath(path, root)).as_posix())


def is_frame_file(path: Path) -> bool:
    return path.suffix.lower() in pictures.SUFFIXES | video.SUFFIXES and not path.name.startswith(".")


def files_in(folder: Path, root: Path, skipped: list[Skipped]) -> list[File]:
    """Pictures and videos of the folder and those below it, in natural order. Links to folders are followed, once each;
    hidden files are not looked at. Folders that cannot be listed go to `skipped`."""
    found: list[File] = []
    visited: set[str] = set()

    def refuse(error: OSError) -> None:
        place = name_of(Path(error.filename), root) if error.filename else name_of(folder, root)
        skipped.append((place, f"cannot be listed: {(error.strerror or str(error)).lower()}"))

    for here, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(here)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural)
        found += [File(path, name_of(path, root)) for path in (Path(here, name) for name in names) if is_frame_file(path)]
    return sorted(found, key=lambda file: (natural(file.name), file.name))


def places(files: Sequence[File], every: int | None, skipped: list[Skipped]) -> list[Place]:
    """One place for each frame that the files offer. `every` keeps each n-th frame of a video and each n-th picture; without it
    all pictures count, and videos are thinned by `Video.default_stride`. Videos that do not open go to `skipped`."""
    numbered = [_numbering(file) for file in files]
    members = Counter(source for source, _ in numbered)
    found: list[Place] = []
    stills = 0
    for file, (source, number) in zip(files, numbered, strict=True):
        if file.is_video:
            video.require_decoder(file.name)
            try:
                opened = video.probe(file.path)
            except video.UnusableVideo as error:
                skipped.append((file.name, str(error)))
                continue
            stride = every or opened.default_stride()
            found += [Place(file, file.name, index, opened) for index in range(0, opened.frames, stride)]
            continue
        if stills % (every or 1) == 0:
            is_sequence = members[source] > 1
            found.append(Place(file, source if is_sequence else file.name, number if is_sequence else 0))
        stills += 1
    return found


def _numbering(file: File) -> tuple[str, int]:
    """Pictures that differ by their last number alone are one camera's: what they share, and the number."""
    path = PurePosixPath(file.name)
    match = None if file.is_video else _LAST_NUMBER.match(path.stem)
    if match is None:
        return file.name, 0
    return str(path.with_name(f"{match['before']}*{match['after']}{path.suffix}")), int(match["number"])


def frames_at(found: Iterable[Place], projector: video.Projector) -> Collection:
    """Reads every picture's header and bytes once, and hashes them. Pictures that cannot be frames go to `skipped`."""
    collection = Collection()
    hashes: dict[Path, str] = {}
    for place in found:
        path, name = place.file.path, place.file.name
        reason = None if place.video else pictures.check(path)
        try:
            if reason is None and path not in hashes:
                hashes[path] = sha256_of(path)
        except OSError as error:
            reason = f"cannot be read: {(error.strerror or str(error)).lower()}"
        if reason is not None:
            collection.skipped.append((name, reason))
        elif place.video:
            name = f"{name}#{place.order:06d}"
            digest = hashlib.sha256(f"{hashes[path]}#{place.order}".encode()).hexdigest()
            read = partial(projector.read, place.video, place.order, name)
            collection.frames.append(Frame(name, place.source, place.order, read, digest))
        else:
            collection.frames.append(Frame(name, place.source, place.order, partial(pictures.decode, path, name), hashes[path]))
    return collection
