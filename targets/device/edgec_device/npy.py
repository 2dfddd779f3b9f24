"""The golden arrays, without numpy: `.npz` files as edgec writes them, stored and of version 1.0 of the npy format."""

from __future__ import annotations

import ast
import math
import sys
import zipfile
from array import array
from dataclasses import dataclass
from pathlib import Path

from edgec_onboard.errors import ArtefactError
from edgec_onboard.text import shorten

_MAGIC = b"\x93NUMPY\x01\x00"
_CODES = {"|u1": "B", "<i4": "i", "<f4": "f"}


@dataclass(frozen=True)
class Array:
    """`values` are in row-major order."""

    shape: tuple[int, ...]
    values: array[float]

    def row(self, index: int) -> array[float]:
        """The values with this index along the first axis."""
        size = math.prod(self.shape[1:])
        return self.values[index * size : (index + 1) * size]


def read_npz(path: Path) -> dict[str, Array]:
    """The arrays in a file, by name. Raises `ArtefactError` for anything that edgec does not write."""
    try:
        with zipfile.ZipFile(str(path)) as archive:
            arrays = {}
            for member in archive.infolist():
                if member.compress_type != zipfile.ZIP_STORED or not member.filename.endswith(".npy"):
                    raise ValueError(f"{member.filename} is compressed, or not an array")
                arrays[member.filename[: -len(".npy")]] = _array(archive.read(member))
            return arrays
    except (
        ValueError,
        KeyError,
        TypeError,
        OSError,
        SyntaxError,
        NotImplementedError,
        RuntimeError,
        MemoryError,
        OverflowError,
        zipfile.BadZipFile,
    ) as error:
        raise ArtefactError(
            f"The golden file {path.name} cannot be read.",
            evidence=[str(path), shorten(str(error), 300)],
            remedy="copy the artefact to the board again, whole",
        ) from error


def _array(data: bytes) -> Array:
    if data[: len(_MAGIC)] != _MAGIC:
        raise ValueError("it is not of version 1.0 of the npy format")
    end = 10 + int.from_bytes(data[8:10], "little")
    header = ast.literal_eval(data[10:end].decode("latin-1").strip())
    shape, code = tuple(int(extent) for extent in header["shape"]), _CODES[header["descr"]]
    if header["fortran_order"]:
        raise ValueError("its values are ordered by column")
    values: array[float] = array(code)
    if min(shape, default=1) < 0 or len(data) - end != math.prod(shape) * values.itemsize:
        raise ValueError(f"{len(data) - end} bytes are not the values of shape {shape}")
    values.frombytes(data[end:])
    if sys.byteorder == "big":
        values.byteswap()
    return Array(shape, values)
