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
_BLOCK, _RECORD = 512, 20 * 512
_NAME, _PREFIX = 100, 155
_MOST_SIZE = 8**11 - 1
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
        """The file's content. Raises `Refused` if the bundle has become shorter, and `OSError`."""
        offset, left = self._members[path]
        while left:
            self._file.seek(offset)
            block = self._file.read(min(_READ, left))
            if not block:
                raise Refused(f"was changed while it was read: {path!r}")
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
    offset = 0
    for path in sorted(source.sizes, key=order):
        with (folder / path).open("rb") as content:
            opening = content.read(2)
            content.seek(0)
            file.write(_header(path, source.sizes[path], opening))
            for block in iter(lambda: content.read(_READ), b""):
                file.write(block)
            if content.tell() != source.sizes[path]:
                raise Refused(f"was changed while it was read: {path!r}")
        padding = -source.sizes[path] % _BLOCK
        file.write(bytes(padding))
        offset += _BLOCK + source.sizes[path] + padding
    file.write(bytes(_end(offset) - offset))


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
        path, length = _named(header, offset)
        begin, padding = offset + _BLOCK, -length % _BLOCK
        if begin + length + padding > size:
            raise Refused(f"is truncated: {path!r} should have {length} bytes")
        opening = file.read(min(2, length))
        file.seek(begin + length)
        if header != _header(path, length, opening) or file.read(padding) != bytes(padding):
            raise Refused(f"is not as it was written: the frame around {path!r} has changed")
        if members and order(members[-1][0]) >= order(path):
            raise Refused(f"is not as it was written: {path!r} is not in its place")
        if len(members) == MOST_FILES:
            raise Refused(f"holds more than {MOST_FILES} files")
        members.append((path, _Member(begin, length)))
        offset = begin + length + padding
    rest = size - offset - _BLOCK
    if size != _end(offset) or file.read(rest + 1) != bytes(rest):
        raise Refused("is not as it was written: its end has changed")
    return members


def _end(offset: int) -> int:
    """The size of a bundle whose last file ends at this offset: two empty blocks, and whole records."""
    end = offset + 2 * _BLOCK
    return end + -end % _RECORD


def _named(header: bytes, offset: int) -> tuple[str, int]:
    """The path and the size of a file, from a header that is not checked yet."""
    try:
        if header[257:265] != b"ustar\x0000":
            raise ValueError("there is no header of a file")
        name, prefix = (
            header[begin : begin + size].split(b"\0")[0].decode("utf-8") for begin, size in ((0, _NAME), (345, _PREFIX))
        )
        size = int(header[124:135], 8)
        if size < 0:
            raise ValueError("a file has a negative size")
        return check_path(f"{prefix}/{name}" if prefix else name), size
    except ValueError as error:
        raise Refused(f"is not a bundle, or damaged: at byte {offset}: {error}") from None


def _header(path: str, size: int, opening: bytes) -> bytes:
    """The ustar header of a file, by hand: what Python's `tarfile` writes differs between its versions."""
    name, prefix = _split(path)
    if size > _MOST_SIZE:
        raise Refused(f"cannot hold {path!r} in a bundle: it has {size} bytes, and {_MOST_SIZE} is the most")
    before = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(_NAME, b"\0"), mode_of(opening), 0, 0, size, 0)
    after = b"0" + bytes(100) + b"ustar\x0000" + bytes(80) + prefix.ljust(_PREFIX, b"\0") + bytes(12)
    return before + b"%06o\0 " % (sum(before) + sum(after) + 8 * ord(" ")) + after


def _split(path: str) -> tuple[bytes, bytes]:
    """A path as the header's name and prefix, which is the shortest that serves."""
    encoded = path.encode("utf-8")
    if len(encoded) <= _NAME:
        return encoded, b""
    parts = encoded.split(b"/")
    for count in range(1, len(parts)):
        prefix, name = b"/".join(parts[:count]), b"/".join(parts[count:])
        if len(prefix) <= _PREFIX and len(name) <= _NAME:
            return name, prefix
    raise Refused(f"cannot hold {path!r} in a bundle: the path is too long")


def mode_of(opening: bytes) -> int:
    """A file's mode, by its first two bytes."""
    return 0o755 if opening == b"#!" else 0o644


def _raise(error: OSError) -> None:
    raise error
