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
from edgec.frames import depth, pictures
from edgec.frames.bags.topics import CameraTopic
from edgec.frames.recordings import (
    DEFAULT,
    Reader,
    Reading,
    Recording,
    UnusableRecording,
    as_error,
    choose,
    is_recording,
    open_recording,
)
from edgec.frames.types import Frame, Origin, Skipped

_ENCODINGS = 5
BITS_REMEDY = (
    "say it in a manifest (.toml), as `bits = 12` for that source, or `bits = 16` if it is 65535; or convert the pictures to 8 "
    "bits"
)
_LAST_NUMBER = re.compile(r"^(?P<before>.*?)(?P<number>\d+)(?P<after>\D*)$", re.DOTALL)


@dataclass(frozen=True)
class File:
    """A picture or a recording, and its name in the set: its path from the set's root, with `/` on every system."""

    path: Path
    name: str

    @property
    def is_picture(self) -> bool:
        """Judged by the suffix."""
        return self.path.suffix.lower() in pictures.SUFFIXES


@dataclass(frozen=True)
class Place:
    """Where one frame is stored. In a recording, `index` is its place there. `camera` names the pictures that one camera
    wrote, as far as file names tell: a sequence, or all single pictures of a folder."""

    file: File
    source: str
    order: int
    recording: Recording | None = None
    index: int = 0
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
    origins: list[Origin] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    """What was noticed in recordings, as sentences for people."""

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


def is_frame_file(path: Path, *, dumps: bool = False) -> bool:
    """Whether this is a picture, a video, a bag or, with `dumps`, a raw dump, by its suffix, and not hidden."""
    shown = not path.name.startswith(".")
    return shown and (path.suffix.lower() in pictures.SUFFIXES or is_recording(path, dumps=dumps))


def places_in(
    files: Sequence[File],
    every: int | None,
    skipped: list[Skipped],
    reading: Reading = DEFAULT,
    notes: list[str] | None = None,
) -> list[Place]:
    """The places of all frames in the files. `every` takes each n-th frame of a recording and each n-th picture; without it all
    pictures are taken, and of recordings what `recordings.choose` does. Those that do not open go to `skipped`.

    Raises `CalibrationError` for a bag that does not open and is the only file, or has several cameras of which none is named.
    """
    numbered = [_numbering(file) for file in files]
    members = Counter(source for source, _ in numbered)
    places: list[Place] = []
    stills = 0
    if any(file.is_picture for file in files):
        pictures.require_decoder()
    for file, (source, number) in zip(files, numbered, strict=True):
        if not file.is_picture:
            try:
                recording = open_recording(file.path, file.name, reading)
            except UnusableRecording as error:
                if len(files) == 1 and error.remedy:
                    raise as_error(file.name, error) from error
                skipped.append((file.name, "; ".join(filter(None, (str(error), error.remedy)))))
                continue
            indices, damaged, noted = choose(recording, every)
            skipped += (*recording.skipped, *damaged)
            if notes is not None:
                notes += (*recording.notes, *noted)
            places += [Place(file, recording.source, recording.order_of(index), recording, index) for index in indices]
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
    match = _LAST_NUMBER.match(path.stem) if file.is_picture else None
    if match is None:
        return file.name, 0
    return str(path.with_name(f"{match['before']}*{match['after']}{path.suffix}")), int(match["number"])


def cameras_of(files: Sequence[File]) -> dict[str, list[Path]]:
    """The pictures among the files by their camera, as `Place.camera` names it."""
    return _cameras(places_in([file for file in files if file.is_picture], None, []))


def frames_at(places: Sequence[Place], reader: Reader, bits: int | None = None) -> Collection:
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
        header = None if place.recording else pictures.read_header(path)
        reason = header if isinstance(header, str) else None
        try:
            if reason is None and path not in hashes:
                hashes[path] = place.recording.content_hash() if place.recording else sha256_of(path)
                collection.origins += _origins(place.recording, hashes[path])
        except OSError as error:
            reason = f"cannot be read: {pictures.system_reason(error)}"
        if reason is not None:
            collection.skipped.append((name, reason))
        elif place.recording:
            name = place.recording.name_of(place.index)
            where = place.recording.source.removeprefix(place.file.name)
            digest = hashlib.sha256(f"{hashes[path]}{where}#{place.index}".encode()).hexdigest()
            read = partial(reader.read, place.recording, place.index, name)
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


def _origins(recording: Recording | None, sha256: str) -> list[Origin]:
    if recording is None or not isinstance(recording.content, CameraTopic):
        return []
    return [Origin(recording.source, sha256, recording.content.topic, recording.content.frames)]


def _cameras(places: Sequence[Place]) -> dict[str, list[Path]]:
    cameras: dict[str, list[Path]] = {}
    for place in places:
        if not place.recording:
            cameras.setdefault(place.camera, []).append(place.file.path)
    return cameras
