"""Bags that lost their end, as when a robot's power is cut while it records. Their index is missing, which is written last, and
`rosbags` refuses them. What is whole in them gets a new end here, in memory, and `rosbags` reads that.

The layouts are those of the specifications "MCAP 1.0" and "Bags/Format/2.0" (ROS wiki).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from edgec.frames.bags.pieces import Piece, PiecesPath

_MCAP = b"\x89MCAP0\r\n"
_NO_SUMMARY = b"\x02" + struct.pack("<QQQI", 20, 0, 0, 0) + _MCAP
"""A footer which says that there is no summary, and the end of the file."""
_HEADER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 1, 3, 4, 5, 6, 15

_ROS1 = b"#ROSBAG V2.0\n"
_OP_HEADER, _OP_INDEX, _OP_CHUNK, _OP_CHUNK_INFO, _OP_CONNECTION = 3, 4, 5, 6, 7
_LARGEST_HEADER = 1 << 20
"""Bytes; a connection's header holds the text of its message's definition, which has a few thousand."""


def salvage_mcap(path: Path) -> PiecesPath | None:
    """The chunks that are whole, without the index. None if there is none."""
    with path.open("rb") as file:
        if file.read(len(_MCAP)) != _MCAP:
            return None
        size = os.fstat(file.fileno()).st_size
        records = list(_mcap_records(file, size))
    if not records or records[0][0] != _HEADER:
        return None
    head: list[Piece] = [_MCAP, records[0][1:]]
    pieces = list(head)
    for kind, start, end in records[1:]:
        if kind in (_SCHEMA, _CHANNEL, _MESSAGE) or (
            kind == _CHUNK and _opens(PiecesPath(path, [*head, (start, end), _NO_SUMMARY]))
        ):
            pieces.append((start, end))
    return PiecesPath(path, [*pieces, _NO_SUMMARY]) if len(pieces) > len(head) else None


def _mcap_records(file: BinaryIO, size: int) -> Iterator[tuple[int, int, int]]:
    """Kind, start and end of each record that is whole, up to the end of the data."""
    start = len(_MCAP)
    while start + 9 <= size:
        file.seek(start)
        kind, length = struct.unpack("<BQ", file.read(9))
        end = start + 9 + length
        if kind in (0, _DATA_END) or end > size:
            return
        yield kind, start, end
        start = end


def _opens(path: PiecesPath) -> bool:
    """Whether `rosbags` reads through this MCAP file, which has no summary: it then unpacks all chunks."""
    from rosbags.rosbag2 import Reader

    reader = Reader(path)  # type: ignore[arg-type,unused-ignore]
    try:
        reader.open()
    except Exception:  # over damaged bytes it raises whatever its decoders do
        return False
    reader.close()
    return True


@dataclass
class _Chunk:
    """A chunk of a ROS 1 bag, with its index: by connection, how many messages, and the first and last of their times."""

    start: int
    compression: bytes
    data: tuple[int, int]
    counts: dict[int, int] = field(default_factory=dict)
    times: list[tuple[int, int]] = field(default_factory=list)
    """As seconds and nanoseconds."""


def salvage_ros1(path: Path) -> PiecesPath | None:
    """The chunks that are whole and have their index, with a new list of them. None if there is none."""
    with path.open("rb") as file:
        if file.read(len(_ROS1)) != _ROS1:
            return None
        size = os.fstat(file.fileno()).st_size
        first = _ros1_record(file, len(_ROS1), size)
        if first is None or _op(first.fields) != _OP_HEADER:
            return None
        chunks: list[_Chunk] = []
        end = first.end
        for start in (first.end, *_listed_chunks(file, first, size)):
            if start >= end:
                end = _add_chunks(file, start, size, chunks)
        connections: dict[int, bytes] = {}
        whole = []
        for chunk in chunks:
            file.seek(chunk.data[0])
            packed = file.read(chunk.data[1] - chunk.data[0])
            if chunk.counts and _add_connections(packed, chunk, connections):
                whole.append(chunk)
    if not whole:
        return None
    fields = {
        b"op": bytes([_OP_HEADER]),
        b"index_pos": struct.pack("<Q", end),
        b"conn_count": struct.pack("<I", len(connections)),
        b"chunk_count": struct.pack("<I", len(whole)),
    }
    header = _ros1_header(fields)
    # As long as the old one, so that everything else stays where it is.
    filler = first.end - len(_ROS1) - len(header) - 4
    if filler < 0:
        return None
    head = _ROS1 + header + struct.pack("<I", filler) + b" " * filler
    return PiecesPath(path, [head, (first.end, end), *connections.values(), *map(_chunk_info, whole)])


@dataclass(frozen=True)
class _Record:
    fields: Mapping[bytes, bytes]
    data: tuple[int, int]

    @property
    def end(self) -> int:
        return self.data[1]


def _ros1_record(file: BinaryIO, start: int, size: int) -> _Record | None:
    """The record that starts there; None if it is not whole."""
    file.seek(start)
    length = file.read(4)
    if len(length) < 4 or (header := struct.unpack("<I", length)[0]) > _LARGEST_HEADER:
        return None
    fields = _fields(file.read(header))
    length = file.read(4)
    if fields is None or len(length) < 4:
        return None
    begin = start + 4 + header + 4
    end = begin + struct.unpack("<I", length)[0]
    return _Record(fields, (begin, end)) if end <= size else None


def _fields(data: bytes) -> dict[bytes, bytes] | None:
    fields, at = {}, 0
    while at + 4 <= len(data):
        length = struct.unpack_from("<I", data, at)[0]
        name, separator, value = data[at + 4 : at + 4 + length].partition(b"=")
        if not separator:
            return None
        fields[name] = value
        at += 4 + length
    return fields if at == len(data) and fields else None


def _op(fields: Mapping[bytes, bytes]) -> int:
    return fields.get(b"op", b"\0")[0] if fields.get(b"op") else 0


def _listed_chunks(file: BinaryIO, header: _Record, size: int) -> list[int]:
    """Where chunks begin by the list at the bag's end, as far as it is there: behind damage reading goes on with the next."""
    starts = []
    at = int.from_bytes(header.fields.get(b"index_pos", b""), "little")
    while header.end <= at < size and (record := _ros1_record(file, at, size)) is not None:
        if _op(record.fields) == _OP_CHUNK_INFO:
            starts.append(int.from_bytes(record.fields.get(b"chunk_pos", b""), "little"))
        at = record.end
    return sorted(starts)


def _add_chunks(file: BinaryIO, start: int, size: int, chunks: list[_Chunk]) -> int:
    """Adds the chunks that are whole, from `start` to the first record that is damaged or not a chunk's. Returns its place."""
    end, first = start, len(chunks)
    while (record := _ros1_record(file, end, size)) is not None:
        kind = _op(record.fields)
        if kind == _OP_CHUNK:
            chunks.append(_Chunk(end, record.fields.get(b"compression", b""), record.data))
        elif kind == _OP_INDEX and len(chunks) > first:
            file.seek(record.data[0])
            entries = list(struct.iter_unpack("<III", _whole(file.read(record.end - record.data[0]), 12)))
            connection = int.from_bytes(record.fields.get(b"conn", b""), "little")
            chunks[-1].counts[connection] = len(entries)
            chunks[-1].times += [(seconds, rest) for seconds, rest, _ in entries]
        else:
            break
        end = record.end
    return end


def _whole(data: bytes, unit: int) -> bytes:
    return data[: len(data) // unit * unit]


def _add_connections(packed: bytes, chunk: _Chunk, known: dict[int, bytes]) -> bool:
    """Adds the connection records in a chunk to those known, byte for byte. False if the chunk cannot be unpacked, or has
    messages of an unknown connection."""
    from rosbags.rosbag1.reader import decompressors

    try:
        data: Any = memoryview(decompressors[chunk.compression.decode()](packed))
    except Exception:  # over damaged bytes they raise whatever they like
        return False
    at = 0
    while at + 4 <= len(data) and not chunk.counts.keys() <= known.keys():
        header = struct.unpack_from("<I", data, at)[0]
        fields = _fields(bytes(data[at + 4 : at + 4 + header]))
        if fields is None or at + 8 + header > len(data):
            return False
        end = at + 8 + header + struct.unpack_from("<I", data, at + 4 + header)[0]
        if _op(fields) == _OP_CONNECTION:
            known.setdefault(int.from_bytes(fields.get(b"conn", b""), "little"), bytes(data[at:end]))
        at = end
    return chunk.counts.keys() <= known.keys()


def _chunk_info(chunk: _Chunk) -> bytes:
    fields = {
        b"op": bytes([_OP_CHUNK_INFO]),
        b"ver": struct.pack("<I", 1),
        b"chunk_pos": struct.pack("<Q", chunk.start),
        b"start_time": struct.pack("<II", *min(chunk.times)),
        b"end_time": struct.pack("<II", *max(chunk.times)),
        b"count": struct.pack("<I", len(chunk.counts)),
    }
    data = b"".join(struct.pack("<II", *counted) for counted in chunk.counts.items())
    return _ros1_header(fields) + struct.pack("<I", len(data)) + data


def _ros1_header(fields: Mapping[bytes, bytes]) -> bytes:
    packed = b"".join(struct.pack("<I", len(name) + 1 + len(value)) + name + b"=" + value for name, value in fields.items())
    return struct.pack("<I", len(packed)) + packed
