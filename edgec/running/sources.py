"""What SOURCE means: a folder, a picture, a video, a bag, a raw dump, an array of frames or a camera. Frames are
decoded one at a time, when they are needed."""

from __future__ import annotations

import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from edgec.errors import CalibrationError
from edgec.frames import Pixels, Reading, Skipped, pictures, raw, video
from edgec.frames.bags.formats import SUFFIXES as BAG_SUFFIXES
from edgec.frames.collecting import File, cameras_of, is_frame_file, name_of
from edgec.frames.pictures import damaged
from edgec.frames.recordings import DEFAULT, Reader, Recording, UnusableRecording, as_error, open_recording, require_use
from edgec.frames.walking import ABSENT, Walk, remedy_for, stat_of
from edgec.paths import expand
from edgec.records.reading import printable
from edgec.running.types import Shot

_BITS = "convert the pictures to 8 bits as those were that the artefact was calibrated on"
_HELP = "give a folder of pictures, a video, a bag, a picture, frames in a .npy file, or a camera as camera:0 or /dev/video0"
_ARRAY = ".npy"


class Source(ABC):
    """Frames in order, one after another."""

    title: str
    rate: float | None = None
    """Frames a second, if it says so."""
    total: int | None = None
    """How many frames there are, if that is known beforehand."""
    waits: bool = True
    """Whether its frames wait until they are read; a camera's do not."""
    moving: bool = False
    """Whether its frames follow each other as in a video."""
    notes: tuple[str, ...] = ()
    """What was noticed when it was opened, as sentences for people."""

    @abstractmethod
    def shots(self, every: int = 1) -> Iterator[Shot]:
        """Every `every`-th frame in order. A frame that cannot be used is a shot as well, whose `read` raises an error that says
        why."""


class Files(Source):
    """Pictures and recordings, one after the other. A recording is opened when its turn comes, and the first one at once.

    `notes` says what was noticed in the first one. Raises `CalibrationError` for a single bag that cannot be read, and
    `RequestError` if nothing uses what `reading` says.
    """

    def __init__(self, title: str, files: list[File], unlisted: list[Skipped], reading: Reading = DEFAULT) -> None:
        self.title = title
        self._files, self._unlisted, self._reading = files, unlisted, reading
        suffixes = {"" if file.path.is_dir() else file.path.suffix.lower() for file in files}
        require_use(reading, bags=bool(suffixes & {"", *BAG_SUFFIXES}), dumps=bool(suffixes & raw.SUFFIXES))
        if any(file.is_picture for file in files):
            pictures.require_decoder()
        cameras = cameras_of(files)
        scales = pictures.full_scales(cameras, _BITS)
        self._scales = {path: scales[camera] for camera, paths in cameras.items() if camera in scales for path in paths}
        for file in files:
            if file.path.suffix.lower() in video.SUFFIXES:
                video.require_decoder(printable(file.name))
        self._first = self._open(files[0]) if files and not files[0].is_picture else None
        self.moving = bool(files) and not any(file.is_picture for file in files)
        if isinstance(self._first, UnusableRecording) and self._first.remedy and len(files) == 1:
            raise as_error(title, self._first)
        if isinstance(self._first, Recording):
            self.rate = self._first.rate or None
            self.notes = self._first.notes
        if all(file.is_picture for file in files):
            self.total = len(files)
        elif len(files) == 1 and isinstance(self._first, Recording):
            self.total = self._first.frames

    def shots(self, every: int = 1) -> Iterator[Shot]:
        """Frames of all files, those of recordings by their index."""
        for name, reason in self._unlisted:
            yield Shot(name, 0, None, partial(_refuse, name, reason))
        reader = Reader()
        number = 0
        try:
            for file in self._files:
                if file.is_picture:
                    if number % every == 0:
                        yield Shot(file.name, number, None, partial(self._decode, file))
                    number += 1
                    continue
                opened = self._first if file is self._files[0] and self._first else self._open(file)
                if isinstance(opened, UnusableRecording):
                    yield Shot(file.name, number, None, partial(_refuse, file.name, str(opened)))
                    number += 1
                    continue
                for name, reason in opened.skipped:
                    yield Shot(name, number, None, partial(_refuse, name, reason))
                for index in range(-number % every, opened.frames, every):
                    name = opened.name_of(index)
                    yield Shot(name, number + index, opened.time_of(index), partial(reader.read, opened, index, name))
                number += opened.frames
        finally:
            reader.close()

    def _open(self, file: File) -> Recording | UnusableRecording:
        try:
            return open_recording(file.path, file.name, self._reading)
        except UnusableRecording as error:
            return error

    def _decode(self, file: File) -> Pixels:
        return pictures.decode(file.path, file.name, self._scales.get(file.path))


class Array(Source):
    """Frames in one `.npy` file, uint8 [N, H, W, 3] or [H, W, 3], RGB: what a robot's own program has saved. It is mapped, not
    read, and needs no decoder."""

    def __init__(self, title: str, path: Path) -> None:
        self.title, self._name = title, path.name
        try:
            frames = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, SyntaxError) as error:
            raise CalibrationError(
                f"{printable(title)} cannot be read as an array.",
                evidence=printable(str(error)),
                remedy="save it with numpy.save",
            ) from error
        self._frames = frames[None] if frames.ndim == 3 else frames
        if frames.dtype != np.uint8 or self._frames.ndim != 4 or self._frames.shape[3] != 3 or 0 in self._frames.shape:
            raise CalibrationError(
                f"{printable(title)} holds no frames.",
                evidence=f"its array is {frames.dtype} {list(frames.shape)}",
                remedy="save uint8 [N, H, W, 3], RGB",
            )
        self.total = len(self._frames)

    def shots(self, every: int = 1) -> Iterator[Shot]:
        """Frames by their index."""
        for index in range(0, len(self._frames), every):
            yield Shot(f"{self._name}#{index:06d}", index, None, partial(np.array, self._frames[index]))


def open_source(reference: str, reading: Reading = DEFAULT) -> Source:
    """The source that a reference names: `camera:N`, or the path of a camera's device, of a folder (searched whole, in natural
    order), of a picture, of a video, of a bag, of a raw dump or of an array.

    Raises `CalibrationError` if there is nothing there, or something else, and `MissingPackage` if what decodes it is not
    installed.
    """
    from edgec.running.camera import Camera, device_of

    device = device_of(reference)
    if device is not None:
        require_use(reading, bags=False, dumps=False)
        return Camera(device)
    path = expand(reference)
    status = stat_of(path) if reference else ABSENT
    if isinstance(status, str):
        raise CalibrationError(
            f"There is no source {printable(reference)!r}.",
            evidence=f"looked for {printable(str(path.absolute()))}: {status}",
            remedy=_HELP,
        )
    if stat.S_ISDIR(status.st_mode):
        walk = Walk(dumps=reading.raw is not None)
        files = walk.files_in(path, path)
        if not files and not walk.skipped:
            raise CalibrationError(
                f"The folder {printable(reference)} has no usable frame.",
                evidence=walk.notes() or "no pictures, videos or bags found",
                remedy=_HELP,
            )
        return Files(reference, files, walk.skipped, reading)
    if path.suffix.lower() == _ARRAY and stat.S_ISREG(status.st_mode):
        require_use(reading, bags=False, dumps=False)
        return Array(reference, path)
    if not is_frame_file(path, dumps=reading.raw is not None):
        raise CalibrationError(
            f"{printable(reference)} is no source of frames.",
            evidence=f"a file with the suffix {printable(path.suffix)!r}; pictures are {_listed(pictures.SUFFIXES)}, videos "
            f"{_listed(video.SUFFIXES)}, bags {_listed(BAG_SUFFIXES)}",
            remedy=remedy_for(path, _HELP),
        )
    return Files(reference, [File(path, name_of(path, path.parent))], [], reading)


def _refuse(name: str, reason: str) -> Pixels:
    raise damaged(name, reason)


def _listed(suffixes: frozenset[str]) -> str:
    return ", ".join(sorted(suffixes))
