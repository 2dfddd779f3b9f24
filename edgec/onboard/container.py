"""Where a signed artefact's files are: in a folder, or in one file, a bundle.

    manifest.json, model/…, golden/…, device/…, LICENSE   the artefact
    signed/release.json      name, version, serial, when it expires
    signed/sbom.cdx.json     what it is made of
    signed/LICENSE           the licence's text, where the artefact has none
    signed/model.sig         the signature over all of these
    report.json, report.md, report/…                      a measurement
    signed/measured.json     of what, and by whom
    signed/report.sig        the signature over the measurement, which may be replaced with it

A bundle is a tar archive (POSIX ustar) of exactly one form: no time, owner or folder in it, the files in one order, mode 0755 for
what begins with `#!`, else 0644. Its reader writes every header again and compares, so that no bit outside the files' contents
can change unnoticed either.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Iterator, NamedTuple, Union

from .untrusted import Refused

SUFFIX = ".edgec-bundle"
FOLDER = "signed"
RELEASE = "signed/release.json"
SBOM = "signed/sbom.cdx.json"
LICENCE = "signed/LICENSE"
SIGNATURE = "signed/model.sig"
MEASURED = "signed/measured.json"
REPORT_SIGNATURE = "signed/report.sig"
ADDED = frozenset({RELEASE, SBOM, LICENCE, SIGNATURE, MEASURED, REPORT_SIGNATURE})
"""What a signed artefact has beside what its manifest and its report list."""
NOT_IN_RELEASE = frozenset({SIGNATURE, REPORT_SIGNATURE, MEASURED, "report.json", "report.md", "report"})
"""What `SIGNATURE` leaves out: itself, and the measurement."""
MOST_FILES = 10_000
_BLOCK = tarfile.BLOCKSIZE
_READ = 1 << 20


class _Member(NamedTuple):
    offset: int
    size: int


def is_measurement(path: str) -> bool:
    """Whether `REPORT_SIGNATURE` is about this file."""
    return path in (MEASURED, "report.json", "report.md") or PurePosixPath(path).parts[0] == "report"


def order(path: str) -> tuple[bool, bool, str]:
    """The order of files in a bundle: who reads it from its beginning learns first who signed what."""
    return (path != SIGNATURE, path != RELEASE, path)


class Folder:
    """The files of a folder, by their paths in it."""

    def __init__(self, root: Path) -> None:
        """Raises `Refused` if there is anything but plain files and folders in it, and `OSError`."""
        self.root = root
        self.sizes: dict[str, int] = {}
        for place, folders, names in os.walk(str(root), onerror=_raise):
            for name in folders + names:
                path = Path(place, name)
                status = path.lstat()
                relative = path.relative_to(root).as_posix()
                if stat.S_ISREG(status.st_mode):
                    self.sizes[check_path(relative)] = status.st_size
                elif not stat.S_ISDIR(status.st_mode):
                    raise Refused(f"holds {relative!r}, which is neither a file nor a folder")
            if len(self.sizes) > MOST_FILES:
                raise Refused(f"holds more than {MOST_FILES} files")

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def blocks(self, path: str) -> Iterator[bytes]:
        """The file's content. Raises `OSError`."""
        with (self.root / path).open("rb") as file:
            yield from iter(lambda: file.read(_READ), b"")


class Bundle:
    """The files in a bundle, by their paths. It stays open, so that what is read later is what was checked."""

    def __init__(self, path: Path) -> None:
        """Raises `Refused` for what is not of the one form of a bundle, and `OSError`."""
        descriptor = os.open(str(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._file: BinaryIO = os.fdopen(descriptor, "rb")
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Refused("is not a regular file")
            self._members = dict(_members(self._file, os.fstat(descriptor).st_size))
        except BaseException:
            self._file.close()
            raise
        self.sizes: dict[str, int] = {name: member.size for name, member in self._members.items()}

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def blocks(self, path: str) -> Iterator[bytes]:
        """The file's content. Raises `OSError`."""
        offset, left = self._members[path]
        while left:
            self._file.seek(offset)
            block = self._file.read(min(_READ, left))
            if not block:
                raise OSError(f"{path} is truncated")
            offset, left = offset + len(block), left - len(block)
            yield block


Source = Union[Folder, Bundle]


def sha256_in(source: Source, path: str) -> str:
    """Of a file's content, in hex. Raises `OSError`."""
    digest = hashlib.sha256()
    for block in source.blocks(path):
        digest.update(block)
    return digest.hexdigest()


def read_in(source: Source, path: str, limit: int) -> bytes:
    """A file's content. Raises `Refused` if it has more than `limit` bytes, and `OSError`."""
    if source.sizes[path] > limit:
        raise Refused(f"holds {path!r} of {source.sizes[path]} bytes, and {limit} is the most")
    return b"".join(source.blocks(path))


def write_bundle(folder: Path, file: BinaryIO) -> None:
    """Write every file of the folder as a bundle.

    Raises `Refused` for a path that a bundle cannot hold, a file of 8 GiB or more, and as `Folder`; and `OSError`.
    """
    source = Folder(folder)
    with tarfile.TarFile(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT, encoding="utf-8", errors="strict") as archive:
        for path in sorted(source.sizes, key=order):
            with (folder / path).open("rb") as content:
                opening = content.read(2)
                content.seek(0)
                try:
                    archive.addfile(_info(path, source.sizes[path], opening), content)
                except ValueError as error:  # too long or too large for the format
                    raise Refused(f"cannot hold {path!r} in a bundle: {error}") from None


def check_path(path: str) -> str:
    """The path, if it is plain, relative and leads nowhere else. Raises `Refused`."""
    plain = PurePosixPath(path)
    if (
        str(plain) != path
        or plain.is_absolute()
        or ".." in plain.parts
        or not path.isprintable()
        or "\\" in path
        or not plain.name
    ):
        raise Refused(f"holds a file with the path {ascii(path)[:200]}")
    return path


def _members(file: BinaryIO, size: int) -> list[tuple[str, _Member]]:
    members: list[tuple[str, _Member]] = []
    offset = 0
    while True:
        header = file.read(_BLOCK)
        if header == bytes(_BLOCK):
            break
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
        except (tarfile.TarError, ValueError) as error:
            raise Refused(f"is not a bundle, or damaged: at byte {offset}: {error}") from None
        path, begin = check_path(info.name), offset + _BLOCK
        opening = file.read(min(2, max(info.size, 0)))
        padding = -info.size % _BLOCK
        if info.size < 0 or begin + info.size + padding > size:
            raise Refused(f"is truncated: {path!r} should have {info.size} bytes")
        file.seek(begin + info.size)
        if header != _header(path, info.size, opening) or file.read(padding) != bytes(padding):
            raise Refused(f"is not as it was written: the frame around {path!r} has changed")
        if members and order(members[-1][0]) >= order(path):
            raise Refused(f"is not as it was written: {path!r} is not in its place")
        if len(members) == MOST_FILES:
            raise Refused(f"holds more than {MOST_FILES} files")
        members.append((path, _Member(begin, info.size)))
        offset = begin + info.size + padding
    end = offset + 2 * _BLOCK
    rest = size - offset - _BLOCK
    if size != end + -end % tarfile.RECORDSIZE or file.read(rest + 1) != bytes(rest):
        raise Refused("is not as it was written: its end has changed")
    return members


def _header(path: str, size: int, opening: bytes) -> bytes:
    try:
        return _info(path, size, opening).tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
    except ValueError as error:
        raise Refused(f"holds {path!r}: {error}") from None


def _info(path: str, size: int, opening: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.size, info.mode = size, mode_of(opening)
    return info


def mode_of(opening: bytes) -> int:
    """A file's mode, by its first two bytes."""
    return 0o755 if opening == b"#!" else 0o644


def _raise(error: OSError) -> None:
    raise error
