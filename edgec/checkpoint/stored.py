"""Tensors as a file describes them, and the one place where they become tensors: by the size of what they are stored in.

A description can claim any shape. It becomes a tensor of that shape only if the bytes that it refers to are in the file, and
are as many as its values need: one stored value that is to be read a thousand million times is no weight.
"""

from __future__ import annotations

import math
import mmap
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgec.checkpoint.text import counted

if TYPE_CHECKING:
    from torch import Tensor

ITEM_BYTES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
    "complex64": 8,
    "complex128": 16,
    "qint8": 1,
    "quint8": 1,
    "qint32": 4,
}
"""Of the types that torch has storages of."""
_REASON = "edgec_reason"
_NO_RESERVE = 0x4000
"""MAP_NORESERVE of Linux, which Python has no name for before 3.13."""
_PLAIN = frozenset({"float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"})


@dataclass(frozen=True)
class Extent:
    """Bytes of a file."""

    start: int
    size: int


@dataclass(frozen=True)
class Described:
    """A tensor that a file claims to hold. `strides` and `offset` count elements; `claimed` are the storage's bytes."""

    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...] = ()
    offset: int = 0
    storage: str | None = None
    claimed: int = 0
    problem: str = ""
    """Why it is no plain tensor; empty if nothing is known against it."""

    @property
    def bytes(self) -> int:
        """How many its values take, each by itself."""
        return math.prod(self.shape) * ITEM_BYTES.get(self.dtype, 1)


def problem(described: Described, extents: Mapping[str, Extent]) -> str:
    """Why the file's bytes do not make this tensor; empty if they do."""
    if described.problem:
        return described.problem
    if described.dtype not in _PLAIN:
        return f"a tensor of {described.dtype}"
    extent = extents.get(described.storage or "")
    if extent is None:
        return "stored nowhere in the file"
    if described.claimed > extent.size:
        return f"said to be stored in {described.claimed:,} bytes; {counted(extent.size, 'byte')} are there"
    item = ITEM_BYTES[described.dtype]
    if described.bytes > extent.size:
        return f"made of {counted(extent.size, 'byte')} that are read again and again (an expanded view); save a clone of it"
    furthest = sum((size - 1) * stride for size, stride in zip(described.shape, described.strides, strict=True))
    if described.bytes and (described.offset + furthest + 1) * item > extent.size:
        return "reaching past the end of its storage"
    return ""


class Mapped:
    """A file's bytes, mapped into memory. Writing to them changes no file."""

    def __init__(self, descriptor: int) -> None:
        # Without a reservation a file may be larger than the memory: nobody writes to all of it.
        flags = mmap.MAP_PRIVATE | (_NO_RESERVE if sys.platform == "linux" else 0)
        self._bytes = mmap.mmap(descriptor, 0, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        self._storages: dict[tuple[str, bool], Tensor] = {}

    def tensor(self, described: Described, extent: Extent) -> Tensor:
        """Of a description that has no `problem`. Tensors of one storage share it."""
        import torch

        dtype: torch.dtype = getattr(torch, described.dtype)
        if math.prod(described.shape) == 0:
            return torch.empty(described.shape, dtype=dtype)
        # Values that do not lie at a multiple of their size are copied to where they do.
        aligned = extent.start % ITEM_BYTES[described.dtype] == 0
        key = (described.storage or "", aligned)
        if key not in self._storages:
            source = self._bytes if aligned else bytearray(self._bytes[extent.start : extent.start + extent.size])
            start = extent.start if aligned else 0
            self._storages[key] = torch.frombuffer(source, dtype=torch.uint8, offset=start, count=extent.size)
        whole = self._storages[key].untyped_storage()
        return torch.empty(0, dtype=dtype).set_(whole, described.offset, described.shape, described.strides)


def stand_in(described: Described, reason: str) -> Tensor:
    """What stands for a tensor that cannot be made: its shape, on the device meta, and `reason_of` it."""
    import torch

    tensor = torch.empty(described.shape, dtype=torch.float32, device="meta")
    setattr(tensor, _REASON, reason)
    return tensor


def reason_of(tensor: Tensor) -> str:
    """Why a tensor has no values; empty if it has, or if nobody knows."""
    return str(getattr(tensor, _REASON, ""))


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of values that lie one after another, the last dimension's closest."""
    strides = [1] * len(shape)
    for place in range(len(shape) - 1, 0, -1):
        strides[place - 1] = strides[place] * max(shape[place], 1)
    return tuple(strides)
