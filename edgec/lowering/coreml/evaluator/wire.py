"""Protobuf's wire format, as much of it as reading a Core ML model takes.

Reading it here costs a page and keeps `edgec verify` at numpy alone: coremltools' own reader imports the whole of coremltools. It
also makes the evaluator an independent witness: nothing that wrote the package has a hand in reading it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgec.errors import RuntimeFailure

Field = int | memoryview
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Message:
    """One encoded message. Fields are asked for by their numbers, which coremltools' `.proto` files give."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._fields: dict[int, list[Field]] = {}
        for number, value in _fields(memoryview(data)):
            self._fields.setdefault(number, []).append(value)

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def message(self, number: int) -> Message:
        """The submessage; an empty one if it is absent, as protobuf has it."""
        found = self._fields.get(number)
        return Message(_bytes(found[-1]) if found else b"")

    def messages(self, number: int) -> list[Message]:
        return [Message(_bytes(value)) for value in self._fields.get(number, [])]

    def integer(self, number: int) -> int:
        found = self._fields.get(number)
        return _signed(found[-1]) if found else 0

    def text(self, number: int) -> str:
        return self.data(number).decode("utf-8", errors="replace")

    def texts(self, number: int) -> list[str]:
        return [bytes(_bytes(value)).decode("utf-8", errors="replace") for value in self._fields.get(number, [])]

    def data(self, number: int) -> bytes:
        found = self._fields.get(number)
        return bytes(_bytes(found[-1])) if found else b""

    def entries(self, number: int) -> dict[str, Message]:
        """A map from strings to messages."""
        return {entry.text(1): entry.message(2) for entry in self.messages(number)}

    def integers(self, number: int) -> list[int]:
        """A repeated integer, packed or not."""
        found: list[int] = []
        for value in self._fields.get(number, []):
            if isinstance(value, int):
                found.append(_signed(value))
            else:
                position = 0
                while position < len(value):
                    plain, position = _varint(value, position)
                    found.append(_signed(plain))
        return found

    def numbers(self, number: int, dtype: type[np.float32] | type[np.float64]) -> NDArray[np.floating]:
        """A repeated float or double, packed or not."""
        data = b"".join(bytes(_bytes(value)) for value in self._fields.get(number, []))
        if len(data) % np.dtype(dtype).itemsize:
            raise _damaged()
        return np.frombuffer(data, dtype)


def _fields(data: memoryview) -> Iterator[tuple[int, Field]]:
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        kind = tag & 7
        if kind == VARINT:
            value, position = _varint(data, position)
            yield tag >> 3, value
            continue
        if kind == BYTES:
            size, position = _varint(data, position)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise _damaged()
        if position + size > len(data):
            raise _damaged()
        yield tag >> 3, data[position : position + size]
        position += size


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _damaged()


def _signed(value: Field) -> int:
    """Negative integers travel as their two's complement in 64 bits."""
    if not isinstance(value, int):
        raise _damaged()
    signed: int = struct.unpack("<q", struct.pack("<Q", value & (2**64 - 1)))[0]
    return signed


def _bytes(value: Field) -> memoryview:
    if isinstance(value, int):
        raise _damaged()
    return value


def _damaged() -> RuntimeFailure:
    return RuntimeFailure("The package's model.mlmodel is damaged: it is no protobuf message of a Core ML model.")
