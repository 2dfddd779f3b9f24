"""Files of torch.save: the zip archive, and the format before version 1.6. Only descriptions are read here: which tensors there
are, and where in the file their bytes lie.

Every number in a file is compared with the file's size before it is used. All refusals are `Refused`.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable
from typing import Any, BinaryIO

from edgec.checkpoint.containers.objects import Storage, kind_of
from edgec.checkpoint.containers.pickles import PICKLE_LIMIT, Window, read_pickle
from edgec.checkpoint.containers.tensors import ITEM_BYTES, Extent
from edgec.checkpoint.containers.tree import Container, Tree
from edgec.untrusted import Refused

_DIRECTORY_LIMIT = 8 << 20
"""Bytes of a zip archive's directory; 3,000 records take a third of a megabyte."""
_LOCAL_HEADER = 30
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


class NoTensors(Refused):
    """A sound file of torch.save that holds something else than named tensors."""


class _Measured(io.FileIO):
    """A file of which little is read at once, whatever sizes it claims."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, closefd=False)
        self._size = os.fstat(descriptor).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(self._size - self.tell(), 0)
        if min(left if size is None or size < 0 else size, left) > _DIRECTORY_LIMIT:
            raise Refused("has a larger directory than any checkpoint")
        return super().read(-1 if size is None else size) or b""


# ---------------------------------------------------------------------------------------------------------------------- zip


class Archive:
    """A zip archive and its directory. A record's bytes are given only if it is stored uncompressed and inside the file."""

    def __init__(self, descriptor: int) -> None:
        self._file = _Measured(descriptor)
        self._size = os.fstat(descriptor).st_size
        try:
            with zipfile.ZipFile(self._file) as archive:
                records = archive.infolist()
        except Refused:
            raise
        except Exception as error:  # a damaged directory fails in any way that a parser can
            raise Refused(f"is no whole zip archive: {error}") from error
        self.records = {record.filename: record for record in records}
        if len(self.records) != len(records):
            raise Refused("is a zip archive that has a record twice")

    @property
    def packed(self) -> str:
        """The name of a compressed record; empty if there is none."""
        return next((name for name, record in self.records.items() if record.compress_type != zipfile.ZIP_STORED), "")

    @property
    def pickle(self) -> str:
        """The name of the record with torch.save's description; empty if this is another kind of archive."""
        names = [name for name in self.records if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(names) > 1:
            raise Refused("holds the descriptions of two checkpoints")
        return names[0] if names else ""

    def extent(self, name: str) -> Extent | None:
        """Where a record's bytes lie; None if there is no such record. Raises `Refused` if they are not inside the file."""
        record = self.records.get(name)
        if record is None:
            return None
        if not 0 <= record.header_offset <= self._size:
            raise Refused(f"has a record outside of it: {name[:80]!a}")
        self._file.seek(record.header_offset)
        local = self._file.read(_LOCAL_HEADER)
        if len(local) != _LOCAL_HEADER or not local.startswith(b"PK\x03\x04") or record.flag_bits & 1:
            raise Refused(f"has no readable record {name[:80]!a}")
        lengths = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
        extent = Extent(record.header_offset + _LOCAL_HEADER + lengths, record.file_size)
        if record.file_size != record.compress_size or extent.start + extent.size > self._size:
            raise Refused(f"has a record that does not fit into it: {name[:80]!a}")
        return extent


def read_zip(descriptor: int) -> Container:
    """What an archive of torch.save describes. Raises `Refused`, `NoTensors`, or `ForbiddenImport`."""
    archive = Archive(descriptor)
    name = archive.pickle
    extent = archive.extent(name)
    if extent is None or extent.size > PICKLE_LIMIT:
        raise Refused("holds no description of tensors, or a larger one than any checkpoint's")
    root = name.removesuffix("data.pkl")
    order = archive.extent(f"{root}byteorder")
    if order is not None and os.pread(descriptor, min(order.size, 8), order.start) != b"little":
        raise Refused("holds big-endian numbers; save it again on the machine that made it, as safetensors")
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(extent.start)
        value, storages = read_pickle(Window(file, extent.size))
    tree = _tree(value)
    extents = {key: place for key in storages if (place := archive.extent(f"{root}data/{key}")) is not None}
    _check_apart([*extents.values(), extent])
    return Container(tree, extents)


# ------------------------------------------------------------------------------------------------------------- before 1.6


def read_legacy(descriptor: int) -> Container:
    """torch.save before version 1.6: five pickles, and the storages one after another. Raises as `read_zip`."""
    size = os.fstat(descriptor).st_size
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        magic, _ = read_pickle(Window(file))
        if magic != _MAGIC:
            raise Refused("is a pickle, but not of torch.save")
        protocol, _ = read_pickle(Window(file))
        system, _ = read_pickle(Window(file))
        if protocol != _PROTOCOL or not isinstance(system, dict) or system.get("little_endian") is not True:
            raise Refused("is of another version of torch.save, or of a big-endian machine")
        value, storages = read_pickle(Window(file))
        keys, _ = read_pickle(Window(file))
        extents = _one_after_another(file, keys, storages, size)
    return Container(_tree(value), extents)


def _one_after_another(file: BinaryIO, keys: Any, storages: dict[str, Storage], size: int) -> dict[str, Extent]:
    extents: dict[str, Extent] = {}
    if not isinstance(keys, list):
        raise Refused("does not say which storages follow")
    start = file.tell()
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None or key in extents:
            raise Refused("holds storages that no tensor needs, or one of them twice")
        file.seek(start)
        count = int.from_bytes(file.read(8), "little", signed=True)
        extent = Extent(start + 8, count * ITEM_BYTES[storage.dtype])
        if count < 0 or extent.start + extent.size > size:
            raise Refused(f"is shorter than its tensors: {size:,} bytes")
        extents[key] = extent
        start = extent.start + extent.size
    return extents


def _tree(value: Any) -> Tree:
    if isinstance(value, dict):
        return Tree.of(value)
    raise NoTensors(f"holds a {kind_of(value)}, not named tensors")


def _check_apart(extents: Iterable[Extent]) -> None:
    end = 0
    for extent in sorted(extents, key=lambda each: (each.start, each.size)):
        if extent.start < end:
            raise Refused("has records that overlap")
        end = extent.start + extent.size
