"""NumPy's functions in pickles: small arrays and scalars are read as lists and numbers, which may be statements."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from edgec.checkpoint.containers.objects import Ignored, Name, extents_of
from edgec.untrusted import Refused

_ARRAY_ELEMENTS = 4096
"""Elements of the largest NumPy array that is read as a statement."""


def as_bytes(value: Any = b"", encoding: Any = "latin-1", *_: Any) -> bytes:
    """Bytes, also those that Python 2 or protocol 2 wrote as text."""
    if isinstance(value, str) and encoding in ("latin-1", "latin1", "utf-8", "ascii"):
        return value.encode(encoding, "replace")
    if not isinstance(value, bytes):
        raise TypeError
    return value


def dtype_name(code: Any, *_: Any) -> Name | Ignored:
    """A little-endian type of numbers, as its name; others are ignored."""
    text = code.decode("ascii") if isinstance(code, bytes) else str(code)
    return Name(f"numpy.dtype {text}") if re.fullmatch(r"[<|=]?(f[248]|[iu][1248]|b1|\?)", text) else Ignored("dtype")


def scalar(dtype: Any, data: Any = b"") -> Any:
    """A number; ignored for other types."""
    if not isinstance(dtype, Name) or not isinstance(data, (bytes, str)):
        return Ignored("NumPy scalar")
    return _numbers(dtype, as_bytes(data), ())


def array(state: Any, spend: Callable[[int], None]) -> Any:
    """The nested list that an array's pickled state holds; ignored if it is large, or of other types than numbers. `spend` is
    called with the steps that copying costs. Raises `Refused`."""
    if not isinstance(state, tuple) or len(state) != 5:
        raise Refused("describes a NumPy array in a way that NumPy does not")
    _, size, dtype, fortran, data = state
    if isinstance(data, (str, bytes)):
        spend(len(data) >> 1)
    shape = extents_of(size)
    if shape is None or not isinstance(dtype, Name) or not isinstance(data, (bytes, str)) or (fortran and len(shape) > 1):
        return Ignored("NumPy array")
    return _numbers(dtype, as_bytes(data), shape)


def from_buffer(data: Any, dtype: Any, size: Any, order: Any, *_: Any) -> Any:
    """As `array`, of the buffer from which pickle protocol 5 makes an array."""
    shape = extents_of(size)
    if shape is None or not isinstance(dtype, Name) or (order != "C" and len(shape) > 1):
        return Ignored("NumPy array")
    return _numbers(dtype, as_bytes(data), shape)


def _numbers(dtype: Name, data: bytes, shape: tuple[int, ...]) -> Any:
    import numpy as np

    if not dtype.full.startswith("numpy.dtype ") or len(data) > 8 * _ARRAY_ELEMENTS:
        return Ignored("NumPy array")
    try:
        return np.frombuffer(data, np.dtype(dtype.full.removeprefix("numpy.dtype "))).reshape(shape).tolist()
    except ValueError as error:
        raise Refused("holds a NumPy array whose bytes are not those of its shape") from error
