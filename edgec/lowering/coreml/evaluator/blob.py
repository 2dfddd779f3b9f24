"""`weights/weight.bin`, read by its documented layout.

Apple's coremltools, mlmodel/src/MILBlob/Blob/StorageFormat.hpp and BlobDataType.hpp (github.com/apple/coremltools): a header of
64 bytes (uint32 count, uint32 version, which is 2), then for each tensor 64 bytes of metadata (uint32 sentinel 0xDEADBEEF, uint32
type, uint64 size in bytes, uint64 offset of the data, uint64 unused bits at the data's end) and its data, each aligned to 64
bytes. A program refers to a tensor by the offset of its metadata. All little-endian.
"""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.errors import RuntimeFailure
from edgec.lowering.coreml.evaluator.types import TensorType, unpack

SENTINEL, VERSION, HEADER, METADATA = 0xDEADBEEF, 2, 64, 64
TYPES = {
    1: "fp16", 2: "fp32", 3: "uint8", 4: "int8", 6: "int16", 7: "uint16", 8: "int4", 9: "uint1", 10: "uint2", 11: "uint4",
    12: "uint3", 13: "uint6", 14: "int32", 15: "uint32",
}  # fmt: skip
"""BlobDataType by number. bfloat16 (5) and the 8-bit floats (16, 17) are not read."""


class BlobFile:
    """A weight file, mapped and not loaded: its tensors are views. Raises `RuntimeFailure` if it cannot be read or has no valid
    header."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._data: NDArray[np.uint8] = np.memmap(path, np.uint8, mode="r")
        except (OSError, ValueError) as error:
            raise RuntimeFailure("The package's weights cannot be read.", evidence=(str(path), str(error))) from error
        if len(self._data) < HEADER or (version := struct.unpack("<II", bytes(self._data[:8]))[1]) != VERSION:
            raise self._damaged("it has no header" if len(self._data) < HEADER else f"version {version}, not {VERSION}")

    def tensor(self, offset: int, expected: TensorType) -> NDArray[Any]:
        """The tensor whose metadata is at `offset`, in bytes. Types of less than a byte come out one element a byte. Raises
        `RuntimeFailure` if there is no tensor of the `expected` type."""
        if not HEADER <= offset <= len(self._data) - METADATA:
            raise self._damaged(f"no tensor at offset {offset}")
        sentinel, kind, size, start, unused = struct.unpack("<IIQQQ", bytes(self._data[offset : offset + 32]))
        if sentinel != SENTINEL:
            raise self._damaged(f"no tensor at offset {offset}")
        if TYPES.get(kind) != expected.kind:
            raise self._damaged(f"offset {offset} holds {TYPES.get(kind, f'type {kind}')}, the program says {expected.kind}")
        bits = prod(expected.static) * expected.bits
        if start + size > len(self._data) or 8 * size - unused != bits:
            raise self._damaged(f"offset {offset} holds {8 * size - unused} bits, the program says {bits}")
        data = self._data[start : start + size]
        if expected.bits < 8:
            return unpack(data, expected)
        return data.view(expected.dtype).reshape(expected.static)

    def _damaged(self, fact: str) -> RuntimeFailure:
        return RuntimeFailure("The package's weights are damaged.", evidence=(str(self.path), fact))
