"""A folder with the newest frames that are unlike those that a model was calibrated on: so many of them at most, and so large.

    frame-1796093703123.png    the camera's frame; the number grows from one to the next, and is the time in ms where that does
    frame-1796093703123.json   one line: `file`, `time` (UTC), `score`, `build_key` of the artefact that scored it, `source`,
                               `height`, `width`, `bytes` and `sha256` of the PNG

A frame is there when its PNG is: the line appears before it and goes after it. So a power cut leaves whole frames. Other files in
the folder are left alone, and do not count.

Programs on robots carry this module (`edgec code`): it imports neither Pillow nor numpy, though frames are numpy's arrays.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import struct
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from .files import SCRATCH, sync

FRAMES, MEGABYTES = 200, 100.0
PNG, LINE = ".png", ".json"
_NAME = re.compile(r"frame-([0-9]{1,20})\.png")
_LOCK = ".lock"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EIGHT_BIT_RGB = (8, 2, 0, 0, 0)
_SUB = b"\1"


class Bounds(NamedTuple):
    """Of the folder at rest. While a frame is written, it is there beside them."""

    frames: int = FRAMES
    megabytes: float = MEGABYTES


BOUNDS = Bounds()
"""Where nobody says others."""


class Entry(NamedTuple):
    """A frame in the folder; `size` is in bytes, with its line."""

    number: int
    path: Path
    size: int


class Ring:
    """The folder, for one process at a time."""

    def __init__(self, folder: Path, build_key: str, bounds: Bounds = BOUNDS) -> None:
        """Makes the folder, which only its owner can read, and removes what is not whole. Raises `OSError` if it cannot be
        written, or if another process keeps frames there."""
        self.folder, self._build_key, self._bounds = folder, build_key, bounds
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(str(folder / _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise OSError(error.errno, "another process keeps frames there", str(folder)) from error
        except OSError:  # a file system without locks
            pass
        for path in folder.glob(f"{SCRATCH}frame-*"):
            path.unlink()
        for path in folder.glob(f"frame-*{LINE}"):
            if not path.with_suffix(PNG).exists():
                path.unlink()

    def close(self) -> None:
        """Another process may keep frames there now."""
        os.close(self._lock)

    def entries(self) -> list[Entry]:
        """The frames, the oldest first. They are looked up each time, because others may remove some. Raises `OSError`."""
        entries = []
        for path in self.folder.iterdir():
            match = _NAME.fullmatch(path.name)
            if match is None:
                continue
            with suppress(FileNotFoundError):
                size = path.stat().st_size
                with suppress(FileNotFoundError):
                    size += path.with_suffix(LINE).stat().st_size
                entries.append(Entry(int(match.group(1)), path, size))
        return sorted(entries)

    def add(self, frame: Any, score: float, source: str = "") -> Path:
        """Write a frame, an array of uint8 [height, width, 3] in RGB, and remove the oldest ones for which there is no more room;
        returns its path. Raises `OSError` if it cannot be written: then nothing was removed."""
        content = png(frame)
        now = time.time()
        before = self.entries()
        number = max([int(now * 1000), *(entry.number + 1 for entry in before[-1:])])
        path = self.folder / f"frame-{number:013}{PNG}"
        facts: dict[str, Any] = {
            "file": path.name,
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03}Z",
            "score": score,
            "build_key": self._build_key,
            "source": source,
            "height": int(frame.shape[0]),
            "width": int(frame.shape[1]),
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        line = json.dumps(facts, allow_nan=False).encode() + b"\n"
        room = int(self._bounds.megabytes * 1e6) - len(content) - len(line)
        if room < 0 or self._bounds.frames < 1:
            raise OSError(f"a frame of {len(content) / 1e6:.1f} MB is more than the folder may hold")
        self._write(path, {path.with_suffix(LINE): line, path: content}, before, room)
        return path

    def _write(self, path: Path, contents: dict[Path, bytes], before: list[Entry], room: int) -> None:
        works = {final: final.with_name(SCRATCH + final.name) for final in contents}
        try:
            for final, work in works.items():
                work.write_bytes(contents[final])
                sync(work)
            held = sum(entry.size for entry in before)
            while before and (len(before) >= self._bounds.frames or held > room):
                held -= before[0].size
                _remove(before.pop(0).path)
            for final, work in works.items():
                work.replace(final)
            sync(self.folder)
        except BaseException:
            for work in works.values():
                with suppress(OSError):
                    work.unlink()
            if not path.exists():
                with suppress(OSError):
                    path.with_suffix(LINE).unlink()
            raise


def png(frame: Any) -> bytes:
    """A PNG of an array of uint8 [height, width, 3]. Each pixel is stored as its difference from the one on its left (PNG's
    filter Sub): photographs then take 30 % less than without."""
    height, width, _ = frame.shape
    differences = frame.copy()
    differences[:, 1:] -= frame[:, :-1]  # modulo 256, as uint8 is
    data, step = differences.tobytes(), 3 * width
    rows = b"".join(_SUB + data[start : start + step] for start in range(0, len(data), step))
    header = struct.pack(">II5B", width, height, *_EIGHT_BIT_RGB)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 6)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _remove(path: Path) -> None:
    for each in (path, path.with_suffix(LINE)):
        with suppress(FileNotFoundError):
            each.unlink()
