"""Files → frames: which files of a folder count, in which order, and which of them are one camera's."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from edgec.durable import sha256_of
from edgec.frames import depth, pictures, video
from edgec.frames.types import Frame, Skipped

_ENCODINGS = 5
BITS_REMEDY = (
    "say it in a manifest (.toml), as `bits = 12` for that source, or `bits = 16` if it is 65535; or convert the pictures to 8 "
    "bits"
)
_LAST_NUMBER = re.compile(r"^(?P<before>.*?)(?P<number>\d+)(?P<after>\D*)$", re.DOTALL)


@dataclass(frozen=True)
class File:
    """A picture or a video, and its name in the set: its path from the set's root, with `/` on every system."""

    path: Path
    name: str

    @property
    def is_video(self) -> bool:
        """Judged by the suffix."""
        return self.path.suffix.lower() in video.SUFFIXES


@dataclass(frozen=True)
class Place:
    """Where one frame is stored. In a video, `order` is its index. `camera` names the pictures that one camera wrote, as far as
    file names tell: a sequence, or all single pictures of a folder."""

    file: File
    source: str
    order: int
    video: video.Video | None = None
    camera: str = ""


@dataclass
class Collection:
    """Frames in the order of their files, and those that cannot be used."""

    frames: list[Frame] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    encodings: Counter[str] = field(default_factory=Counter)
    """How many pictures declare colours that a camera's frames do not have, by what they declare."""
    places: int = 0
    """How many frames there were before any sampling."""

    def notes(self) -> tuple[str, ...]:
        """What was ignored in reading the frames, as sentences for people."""
        return tuple(
            f"{count} picture{'s say that they have' if count > 1 else ' says that it has'} {encoding}, which is "
            "ignored: a camera's frames have none, so convert to sRGB if the model is to see these colours"
            for encoding, count in self.encodings.most_common(_ENCODINGS)
        )


def natural(text: str) -> list[tuple[int, str]]:
    """A sort key with which `frame_9` comes before `frame_10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text) if part]


def name_of(path: Path, root: Path) -> str:
    """A path relative to `root`, the same text on every machine: with `/`, and in Unicode's composed form (macOS decomposes).
    Bytes that are not UTF-8 are escaped, as in `a\\xff.png`."""
    name = Path(os.path.relpath(path, root)).as_posix()
    if not name.isascii():
        name = unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))
    return name


def is_frame_file(path: Path) -> bool:
    """Whether this is a picture or a video by its suffix, and not hidden."""
    return path.suffix.lower() in pictures.SUFFIXES | video.SUFFIXES and not path.name.startswith(".")


def places_in(files: Sequence[File], every: int | None, skipped: list[Skipped]) -> list[Place]:
    """The places of all frames in the files. `every` takes each n-th frame of a video and each n-th picture; without it all
    pictures are taken, and of videos one frame in `Video.default_stride`. Videos that do not open go to `skipped`."""
    numbered = [_numbering(file) for file in files]
    members = Counter(source for source, _ in numbered)
    places: list[Place] = []
    stills = 0
    if not all(file.is_video for file in files):
        pictures.require_decoder()
    for file, (source, number) in zip(files, numbered, strict=True):
        if file.is_video:
            video.require_decoder(file.name)
            try:
                opened = video.probe(file.path)
            except video.UnusableVideo as error:
                skipped.append((file.name, str(error)))
                continue
            stride = every or opened.default_stride()
            places += [Place(file, file.name, index, opened) for index in range(0, opened.frames, stride)]
            continue
        if stills % (every or 1) == 0:
            is_sequence = members[source] > 1
            camera = source if is_sequence else str(PurePosixPath(file.name).with_name("*"))
            places.append(Place(file, source if is_sequence else file.name, number if is_sequence else 0, camera=camera))
        stills += 1
    return places


def _numbering(file: File) -> tuple[str, int]:
    """The source that a file belongs to, and its number in it. Pictures whose names differ in the last number alone are one
    camera's: they share a source, in which the number is replaced by `*`."""
    path = PurePosixPath(file.name)
    match = None if file.is_video else _LAST_NUMBER.match(path.stem)
    if match is None:
        return file.name, 0
    return str(path.with_name(f"{match['before']}*{match['after']}{path.suffix}")), int(match["number"])


def cameras_of(files: Sequence[File]) -> dict[str, list[Path]]:
    """The pictures among the files by their camera, as `Place.camera` names it."""
    return _cameras(places_in([file for file in files if not file.is_video], None, []))


def frames_at(places: Sequence[Place], projector: video.Projector, bits: int | None = None) -> Collection:
    """Reads every picture's header and bytes once, and hashes them. Pictures that cannot be frames go to `skipped`. `bits` is the
    user's statement about pictures with more than 8 bits a sample.

    Raises `CalibrationError` if nothing says what full scale of such pictures is.
    """
    collection = Collection()
    hashes: dict[Path, str] = {}
    stated = None if bits is None else (1 << bits) - 1
    scales = {} if stated else pictures.full_scales(_cameras(places), BITS_REMEDY)
    for place in places:
        path, name = place.file.path, place.file.name
        header = None if place.video else pictures.read_header(path)
        reason = header if isinstance(header, str) else None
        try:
            if reason is None and path not in hashes:
                hashes[path] = sha256_of(path)
        except OSError as error:
            reason = f"cannot be read: {pictures.system_reason(error)}"
        if reason is not None:
            collection.skipped.append((name, reason))
        elif place.video:
            name = f"{name}#{place.order:06d}"
            digest = hashlib.sha256(f"{hashes[path]}#{place.order}".encode()).hexdigest()
            read = partial(projector.read, place.video, place.order, name)
            collection.frames.append(Frame(name, place.source, place.order, read, digest))
        else:
            assert isinstance(header, pictures.Header)
            white = (stated or scales.get(place.camera)) if header.deep else None
            read = partial(pictures.decode, path, name, white, stated=stated is not None)
            digest = hashes[path]
            if white not in (None, depth.FULL):
                digest = hashlib.sha256(f"{digest}#{white}".encode()).hexdigest()
            collection.frames.append(Frame(name, place.source, place.order, read, digest))
            if header.encoding:
                collection.encodings[header.encoding] += 1
    return collection


def _cameras(places: Sequence[Place]) -> dict[str, list[Path]]:
    cameras: dict[str, list[Path]] = {}
    for place in places:
        if not place.video:
            cameras.setdefault(place.camera, []).append(place.file.path)
    return cameras
