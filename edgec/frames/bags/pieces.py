"""A file that is put together from parts of another one, without copying it: how a bag that lost its end is given a new one."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Piece = bytes | tuple[int, int]
"""Bytes, or the first and the last but one position of a stretch of the file."""


class Pieces(io.RawIOBase):
    """Reads the pieces one after another, as one file. It owns the file underneath."""

    def __init__(self, path: Path, pieces: Sequence[Piece]) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._pieces = [piece for piece in pieces if _length(piece)]
        self._starts = [0]
        for piece in self._pieces:
            self._starts.append(self._starts[-1] + _length(piece))
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of a file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        if base + offset < 0:
            raise OSError(f"position {base + offset} is before the file's beginning")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """The position."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Reads on to the end of the piece."""
        view = memoryview(buffer).cast("B")
        index = bisect_right(self._starts, self._at) - 1
        if index >= len(self._pieces):
            return 0
        piece, inside = self._pieces[index], self._at - self._starts[index]
        count = min(len(view), _length(piece) - inside)
        if isinstance(piece, bytes):
            data = piece[inside : inside + count]
        else:
            self._file.seek(piece[0] + inside)
            data = self._file.read(count)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """Closes the file underneath too."""
        self._file.close()
        super().close()


class PiecesPath:
    """Where such a file is, as far as `rosbags` asks of a path (its protocol `RPath`)."""

    def __init__(self, path: Path, pieces: Sequence[Piece]) -> None:
        self._path, self._pieces = path, tuple(pieces)
        self.suffix, self.stem = path.suffix.lower(), path.stem

    def exists(self) -> bool:
        """It does."""
        return True

    def is_dir(self) -> bool:
        """It is a file."""
        return False

    def open(self, *_: Any, **__: Any) -> io.BufferedReader:
        """For reading."""
        return io.BufferedReader(Pieces(self._path, self._pieces))

    def __str__(self) -> str:
        return str(self._path)


def _length(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
