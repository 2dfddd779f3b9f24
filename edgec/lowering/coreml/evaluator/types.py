"""MIL's tensor types, and the numpy types that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.errors import RuntimeFailure
from edgec.lowering.coreml.evaluator.messages import Message

KINDS = {
    1: "bool", 2: "string", 10: "fp16", 11: "fp32", 12: "fp64", 21: "int8", 22: "int16", 23: "int32", 24: "int64", 25: "int4",
    31: "uint8", 32: "uint16", 33: "uint32", 34: "uint64", 35: "uint4", 36: "uint2", 37: "uint1", 38: "uint6", 39: "uint3",
}  # fmt: skip
"""DataType of MIL.proto by number. bfloat16 and the 8-bit floats are refused."""
DTYPES: dict[str, Any] = {
    "bool": np.bool_, "string": np.str_, "fp16": np.float16, "fp32": np.float32, "fp64": np.float64,
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64, "int4": np.int8,
    "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
    "uint6": np.uint8, "uint4": np.uint8, "uint3": np.uint8, "uint2": np.uint8, "uint1": np.uint8,
}  # fmt: skip
NARROW = {"int4": 4, "uint6": 6, "uint4": 4, "uint3": 3, "uint2": 2, "uint1": 1}
"""Bits of the types that share bytes in a file."""


@dataclass(frozen=True)
class TensorType:
    """`shape` has None where the program leaves a dimension open, as packages with enumerated shapes do."""

    kind: str
    shape: tuple[int | None, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy type that holds it; types of less than a byte take a byte an element."""
        dtype: np.dtype[Any] = np.dtype(DTYPES[self.kind])
        return dtype

    @property
    def bits(self) -> int:
        """Of one element, as stored in a file."""
        return NARROW.get(self.kind, 8 * self.dtype.itemsize)

    @property
    def static(self) -> tuple[int, ...]:
        """The shape. Raises `RuntimeFailure` if a dimension is open, which no constant may have."""
        if any(size is None for size in self.shape):
            raise RuntimeFailure(f"A constant of the program has an open shape: {self}.")
        return tuple(size or 0 for size in self.shape)

    def holds(self, shape: Sequence[int]) -> bool:
        """Whether an array of this shape fits the type."""
        return len(shape) == len(self.shape) and all(
            expected in (None, size) for expected, size in zip(self.shape, shape, strict=True)
        )

    def __str__(self) -> str:
        return f"{self.kind} [{', '.join('?' if size is None else str(size) for size in self.shape)}]"


def read_type(value_type: Message, name: str) -> TensorType:
    """The type of a ValueType message. Raises `RuntimeFailure`, which names `name`, for anything but a tensor of a known type."""
    if not value_type.HasField("tensorType"):
        raise RuntimeFailure(f"{name} is no tensor; edgec's evaluator knows no lists, tuples, dictionaries or states.")
    tensor = value_type.tensorType
    kind = KINDS.get(tensor.dataType)
    if kind is None:
        raise RuntimeFailure(f"{name} has an element type that edgec's evaluator does not know: {tensor.dataType}.")
    return TensorType(kind, tuple(dim.constant.size if dim.HasField("constant") else None for dim in tensor.dimensions))


def unpack(data: NDArray[np.uint8], declared: TensorType) -> NDArray[Any]:
    """One element a byte from elements of fewer bits, which are packed from the least significant bit on and across bytes."""
    count, bits = prod(declared.static), declared.bits
    if 8 % bits == 0:
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        elements = ((data[:, None] >> shifts) & np.uint8(2**bits - 1)).reshape(-1)[:count]
    else:
        flags = np.unpackbits(data, count=count * bits, bitorder="little").reshape(count, bits)
        elements = np.packbits(flags, axis=1, bitorder="little")[:, 0]
    if declared.kind == "int4":
        elements = np.where(elements > 7, elements.astype(np.int8) - np.int8(16), elements.astype(np.int8)).astype(np.int8)
    result: NDArray[Any] = elements.reshape(declared.static)
    return result
