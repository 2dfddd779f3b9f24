"""Tensors as a file describes them, and the one place where they become tensors: memory is bounded by what the file stores.

A description can claim any shape. It becomes a tensor of that shape only if the file has the bytes that it refers to, and
as many of them as its values need: an expanded view that repeats one stored value a thousand million times is refused.
"""

from __future__ import annotations

import math
import mmap
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgec.text import counted
from edgec.untrusted import Refused

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
"""Bytes of one value, of the types that torch has storages of."""
_REASON = "edgec_reason"
_NO_RESERVE = 0x4000
"""MAP_NORESERVE of Linux, which Python has no name for before 3.13."""
_PLAIN = frozenset({"float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"})


@dataclass(frozen=True)
class Extent:
    """A range of a file: its first byte and its length in bytes."""

    start: int
    size: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as a file describes it. `strides` and `offset` count elements; `claimed` is the storage's size in bytes."""

    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...] = ()
    offset: int = 0
    storage: str | None = None
    claimed: int = 0
    problem: str = ""
    """Why it is not a plain tensor; empty if no reason is known."""

    @property
    def bytes(self) -> int:
        """How many bytes its values take when each is stored by itself."""
        return math.prod(self.shape) * ITEM_BYTES.get(self.dtype, 1)


def problem_of(tensor: StoredTensor, extents: Mapping[str, Extent]) -> str:
    """Why the file's bytes do not make this tensor; empty if they do."""
    if tensor.problem:
        return tensor.problem
    if tensor.dtype not in _PLAIN:
        return f"a tensor of {tensor.dtype}"
    extent = extents.get(tensor.storage or "")
    if extent is None:
        return "stored nowhere in the file"
    if tensor.claimed > extent.size:
        return f"said to be stored in {tensor.claimed:,} bytes; {counted(extent.size, 'byte')} are there"
    item = ITEM_BYTES[tensor.dtype]
    if tensor.bytes > extent.size:
        return f"made of {counted(extent.size, 'byte')} that are read again and again (an expanded view); save a clone of it"
    furthest = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    if tensor.bytes and (tensor.offset + furthest + 1) * item > extent.size:
        return "reaching past the end of its storage"
    return ""


class Mapped:
    """A file's bytes, mapped into memory. Writing to them does not change the file."""

    def __init__(self, descriptor: int) -> None:
        # Without a reservation a file may be larger than the memory: nobody writes to all of it.
        flags = mmap.MAP_PRIVATE | (_NO_RESERVE if sys.platform == "linux" else 0)
        self._bytes = mmap.mmap(descriptor, 0, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        self._storages: dict[tuple[str, bool], Tensor] = {}

    def tensor(self, stored: StoredTensor, extent: Extent) -> Tensor:
        """The tensor of a description for which `problem_of` is empty. Tensors of one storage share memory."""
        import torch

        dtype: torch.dtype = getattr(torch, stored.dtype)
        if math.prod(stored.shape) == 0:
            return torch.empty(stored.shape, dtype=dtype)
        # Values that do not lie at a multiple of their size are copied to where they do.
        aligned = extent.start % ITEM_BYTES[stored.dtype] == 0
        key = (stored.storage or "", aligned)
        if key not in self._storages:
            source = self._bytes if aligned else bytearray(self._bytes[extent.start : extent.start + extent.size])
            start = extent.start if aligned else 0
            self._storages[key] = torch.frombuffer(source, dtype=torch.uint8, offset=start, count=extent.size)
        whole = self._storages[key].untyped_storage()
        return torch.empty(0, dtype=dtype).set_(whole, stored.offset, stored.shape, stored.strides)


def placeholder(stored: StoredTensor, reason: str) -> Tensor:
    """Stands for a tensor that cannot be made: its shape, on the device meta, and `reason_of` it."""
    import torch

    tensor = torch.empty(stored.shape, dtype=torch.float32, device="meta")
    setattr(tensor, _REASON, reason)
    return tensor


def reason_of(tensor: Tensor) -> str:
    """Why a tensor has no values; empty if it has values, or if no reason was noted."""
    return str(getattr(tensor, _REASON, ""))


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of values that lie one after another in row-major order."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 1, 0, -1):
        strides[axis - 1] = strides[axis] * max(shape[axis], 1)
    return tuple(strides)


@dataclass
class TensorCopier:
    """Copies tensors of one checkpoint into memory, in all no more than their storages hold: overlapping views are refused."""

    _copied: Counter[int] = field(default_factory=Counter)
    """Bytes by the address of the storage that they came from."""

    def float32(self, tensor: Tensor) -> Tensor:
        """A copy in memory of its own. Raises `Refused`, ending the sentence "it is …", if it is not a plain tensor, or if
        tensors that overlap it have used up its storage."""
        import torch

        reason = reason_of(tensor) or _not_plain(tensor)
        if reason:
            raise Refused(f"no plain tensor: {reason}")
        storage = tensor.untyped_storage()
        self._copied[storage.data_ptr()] += tensor.numel() * tensor.element_size()
        if self._copied[storage.data_ptr()] > storage.nbytes():
            raise Refused(f"stored in the same {storage.nbytes():,} bytes as other weights of this model; save clones of them")
        return tensor.to(torch.float32, copy=True, memory_format=torch.contiguous_format)


def _not_plain(tensor: Tensor) -> str:
    """Why a tensor has no values that could be copied as they are; empty if it has."""
    import torch

    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return f"a tensor of the class {type(tensor).__name__}"
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.device.type != "cpu":
        return f"{str(tensor.dtype).removeprefix('torch.')}, {tensor.layout}, {tensor.device}"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"{tensor.untyped_storage().nbytes():,} bytes that are read again and again (an expanded view)"
    return "" if not (tensor.is_neg() or tensor.is_conj()) else "a view that negates as it is read"
