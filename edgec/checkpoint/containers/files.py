"""From files to named tensors. The bytes may be hostile: their first ones tell the format, and nothing in them is run.

First the container's description is read (`torch_save`, `safetensors`); a tensor is made only if the file has its bytes. Files
are mapped into memory, so that a checkpoint takes memory once: for the copies that `edgec.checkpoint.weights` makes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgec.checkpoint.containers.objects import ForbiddenImport
from edgec.checkpoint.containers.other_formats import AGAIN, UNFINISHED, file_of_another_kind, lone_shard, zip_of_another_kind
from edgec.checkpoint.containers.safetensors import read_safetensors
from edgec.checkpoint.containers.tensors import Mapped, placeholder, problem_of
from edgec.checkpoint.containers.torch_save import Archive, NoTensors, read_legacy, read_zip
from edgec.checkpoint.containers.tree import Container
from edgec.errors import UnreadableCheckpoint, UnsafeCheckpoint
from edgec.text import counted, listed, shown
from edgec.untrusted import Refused

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 64 << 30
"""Bytes of one checkpoint's files together. The largest backbone has 3.4 GB; a training file of it, optimiser and all, 30."""
_HOLES = 64 << 20
"""Bytes of a file that may be unwritten (holes of a sparse file), whatever its size."""
_MOST_HOLES = 1000
_HEAD = 512


@dataclass(frozen=True)
class Contents:
    """What the files of one checkpoint hold.

    `tensors` by name: nested dictionaries become dots, as in `teacher.backbone.…`, and an item of a list has its number, as in
    `ema.shadow_params.0`. `statements` is everything else in the container, as a plain tree of dict, list, str, int (64 bits),
    float, bool and None, bounded in depth and number: `args`, `config` or `hyper_parameters` of a training file, and the texts
    of safetensors under `__metadata__`.

    A tensor that cannot be made from the file's bytes has its shape and no values: its device is meta, and `reason_of` (in
    `edgec.checkpoint.containers.tensors`) says why. Values are copied by `TensorCopier` of the same module.
    """

    tensors: dict[str, Tensor]
    statements: Mapping[str, Any] = field(default_factory=dict)


def load(paths: Sequence[Path]) -> Contents:
    """Everything in the files (shards) of one checkpoint. Raises `UnreadableCheckpoint` or `UnsafeCheckpoint`."""
    tensors: dict[str, Tensor] = {}
    statements: dict[str, Any] = {}
    for path in paths:
        part = _load(path)
        twice = tensors.keys() & part.tensors.keys()
        if twice:
            raise UnreadableCheckpoint(f"{shown(path)} repeats a tensor of another shard.", evidence=shown(min(twice)))
        tensors |= part.tensors
        statements |= part.statements
    if not tensors:
        raise UnreadableCheckpoint(
            f"{shown(paths[0])} holds no tensors.",
            evidence=f"it has {listed(map(str, statements))}" if statements else "it is empty",
            remedy="save model.state_dict() of the backbone",
        )
    return Contents(tensors, statements)


def check(paths: Sequence[Path]) -> None:
    """Raises `UnreadableCheckpoint` if these cannot be the files of a checkpoint, judged by their sizes, first bytes and
    directories alone."""
    total = 0
    for path in paths:
        total += check_size(path, LARGEST - total)
        with _opened(path) as descriptor:
            kind = _kind(path, descriptor)
            with _explaining(path, kind):
                if kind == "safetensors":
                    read_safetensors(descriptor)
                elif kind == "zip":
                    _check_zip(path, Archive(descriptor))


def check_size(path: Path, limit: int = LARGEST) -> int:
    """A regular file's size in bytes. Raises `UnreadableCheckpoint` if it is not a regular file, is larger than `limit`, or is
    mostly unwritten (a download that reserved its space and stopped)."""
    with _opened(path) as descriptor:
        size = os.fstat(descriptor).st_size
        if size > limit:
            raise UnreadableCheckpoint(
                f"{shown(path)} is larger than any checkpoint.",
                evidence=f"{size:,} bytes, and {limit:,} is the most",
                remedy="save the backbone alone, without the optimiser and the teacher",
            )
        _check_holes(path, descriptor)
        return size


def _load(path: Path) -> Contents:
    with _opened(path) as descriptor:
        kind = _kind(path, descriptor)
        with _explaining(path, kind):
            if kind == "zip":
                _check_zip(path, Archive(descriptor))
            container = {"zip": read_zip, "legacy": read_legacy, "safetensors": read_safetensors}[kind](descriptor)
        return _contents(container, Mapped(descriptor))


def _contents(container: Container, mapped: Mapped) -> Contents:
    tensors: dict[str, Tensor] = {}
    for name, stored in container.tree.tensors.items():
        problem = problem_of(stored, container.extents)
        if problem:
            tensors[name] = placeholder(stored, problem)
        else:
            tensors[name] = mapped.tensor(stored, container.extents[stored.storage or ""])
    statements = container.tree.statements
    metadata = statements.get("__metadata__")
    if isinstance(metadata, dict):
        # safetensors' save_model writes a shared tensor once, and notes the other names that it has.
        shared = {name: original for name, original in metadata.items() if isinstance(original, str)}
        tensors |= {name: tensors[full] for name, full in shared.items() if name not in tensors and full in tensors}
    return Contents(tensors, statements)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The descriptor of a regular file. Devices and pipes, which could block, are refused."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise UnreadableCheckpoint(
            f"{shown(path)} cannot be read.", evidence=shown(error), remedy="check its name and its permissions"
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableCheckpoint(f"{shown(path)} is not a regular file.", remedy="give a file of weights")
        try:
            yield descriptor
        except OSError as error:
            raise UnreadableCheckpoint(f"{shown(path)} cannot be read.", evidence=shown(error), remedy=AGAIN) from error
    finally:
        os.close(descriptor)


def _check_holes(path: Path, descriptor: int) -> None:
    """Raises `UnreadableCheckpoint` if most of the file is holes. The system reports an empty hole at the end of every file."""
    size = os.fstat(descriptor).st_size
    hole, holes = 0, 0
    try:
        for _ in range(_MOST_HOLES):
            hole = os.lseek(descriptor, hole, os.SEEK_HOLE)
            if hole >= size:
                break
            try:
                data = os.lseek(descriptor, hole, os.SEEK_DATA)
            except OSError:  # no data after the hole
                data = size
            holes, hole = holes + data - hole, data
            if hole >= size:
                break
    except (OSError, AttributeError):
        return
    if holes > max(_HOLES, size // 2):
        raise UnreadableCheckpoint(
            f"{shown(path)} is mostly holes: its space is reserved, its bytes were never written.",
            evidence=f"{holes:,} of {size:,} bytes are not there",
            remedy=AGAIN,
        )


def _kind(path: Path, descriptor: int) -> str:
    """`safetensors`, `zip` or `legacy`, by the first bytes. Raises `UnreadableCheckpoint`, naming the format, for others."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        raise UnreadableCheckpoint(f"{shown(path)} is empty (0 bytes).", remedy=AGAIN)
    head = os.pread(descriptor, _HEAD, 0)
    if path.suffix.lower() == ".distcp":
        raise lone_shard(path)
    # Before the others: a safetensors file begins with its header's length, whose first byte may be that of a pickle.
    header = head[8:9] == b"{"
    if header and int.from_bytes(head[:8], "little") <= size - 8:
        return "safetensors"
    if head.startswith(b"\x80"):
        return "legacy"
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    other = file_of_another_kind(path, head, size)
    if other is None and header:
        return "safetensors"
    raise other or UnreadableCheckpoint(
        f"{shown(path)} is in no format of weights that edgec knows.",
        evidence=f"begins with the bytes {head[:8].hex(' ')}, of {counted(size, 'byte')}",
        remedy="give a file written by torch.save or a .safetensors file",
    )


def _check_zip(path: Path, archive: Archive) -> None:
    """torch.save does not compress its records, so that they can be mapped. Raises `UnreadableCheckpoint` for other archives."""
    other = zip_of_another_kind(path, list(archive.records), archive.pickle)
    if other is not None:
        raise other
    if archive.packed:
        raise UnreadableCheckpoint(
            f"{shown(path)} is a compressed zip archive, not a checkpoint of torch.save.",
            evidence=f"compressed: {shown(archive.packed, 80)}",
            remedy="unpack it and give the checkpoint inside",
        )


@contextmanager
def _explaining(path: Path, kind: str) -> Iterator[None]:
    """Turns refusals of the bytes into errors for the user."""
    try:
        yield
    except ForbiddenImport as error:
        raise UnsafeCheckpoint(
            f"{shown(path)} wants to run {shown(error, 80)} when it is opened; it was refused and not run.",
            evidence="a checkpoint needs tensors and settings only; edgec reads their descriptions and calls nothing",
            remedy="if you trust its source, load it with torch.load and save model.state_dict() alone, or as safetensors",
        ) from error
    except NoTensors as error:
        raise UnreadableCheckpoint(f"{shown(path)} {shown(error)}.", remedy="save model.state_dict() instead") from error
    except Refused as error:
        if path.suffix.lower() in UNFINISHED:
            what, remedy = "an unfinished download", "run the download again"
        elif kind == "safetensors":
            what, remedy = "truncated or damaged safetensors", AGAIN
        else:
            what, remedy = "no checkpoint of torch.save, or a damaged one", AGAIN
        raise UnreadableCheckpoint(f"{shown(path)} is {what}.", evidence=f"it {shown(error)}", remedy=remedy) from error
