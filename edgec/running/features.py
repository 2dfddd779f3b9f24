"""All outputs of a run as `.npz`: one file, or for long videos one a frame.

In one file, M frames along the first axis: `frame` (names), `number` int64, `time_s` float64 (NaN where the source tells none),
`drift` float64 (NaN where the artefact cannot tell), and an array an output, float32 [M, …], label maps int32. A file a frame has
the same without that axis.
Nothing in them is pickled.
"""

from __future__ import annotations

import math
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgec.running.sinks import FileSink, FolderSink, Written
from edgec.running.types import Done

RESERVED = ("frame", "number", "time_s", "drift")
_BLOCK = 1 << 22
_npy: Any = np.lib.format
"""Which numpy leaves untyped."""


class FeatureFile(FileSink):
    """One `.npz`. Values are appended to a file for each output as they come, and copied into the archive at the end, because its
    format needs the length before the data. So memory holds one frame; for a moment, the disk holds everything twice."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._columns: dict[str, tuple[IO[bytes], np.dtype[Any], tuple[int, ...]]] = {}
        self._longest = 1

    def write(self, done: Done) -> None:
        """Appends the frame's values."""
        with self.refusals():
            for name, values in _arrays(done).items():
                if name not in self._columns:
                    file = self._stack.enter_context((self.work / f"{len(self._columns)}.column").open("wb"))
                    self._columns[name] = file, values.dtype, values.shape
                self._columns[name][0].write(np.ascontiguousarray(values).tobytes())
            if "frame" not in self._columns:
                file = self._stack.enter_context((self.work / "names").open("wb"))
                self._columns["frame"] = file, np.dtype("U1"), ()
            self._columns["frame"][0].write(done.name.encode("utf-8", "surrogatepass") + b"\0")
            self._longest = max(self._longest, len(done.name))
        self.frames += 1

    def finish(self) -> Written:
        """Copies all values into the archive."""
        with self.refusals():
            for file, _, _ in self._columns.values():
                file.close()
            with zipfile.ZipFile(self.unfinished, "w", zipfile.ZIP_STORED) as archive:
                for name, (file, dtype, shape) in self._columns.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        if name == "frame":
                            self._copy_names(Path(file.name), member)
                        else:
                            _head(member, dtype, (self.frames, *shape))
                            with Path(file.name).open("rb") as column:
                                shutil.copyfileobj(column, member, _BLOCK)
                    Path(file.name).unlink()
            return self.publish()

    def _copy_names(self, path: Path, member: IO[bytes]) -> None:
        dtype = np.dtype(f"<U{self._longest}")
        _head(member, dtype, (self.frames,))
        rest = b""
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                *whole, rest = (rest + block).split(b"\0")
                names = [name.decode("utf-8", "surrogatepass") for name in whole]
                member.write(np.array(names, dtype).tobytes() if names else b"")


class FeatureFolder(FolderSink):
    """A folder with one `.npz` for each frame."""

    suffix = ".npz"

    def write(self, done: Done) -> None:
        """Writes the frame's file."""
        with self.refusals():
            name = self.name_of(done)
            with zipfile.ZipFile(self.work / name, "w", zipfile.ZIP_STORED) as archive:
                named = {"frame": np.array(done.name), **_arrays(done)}
                for key, values in named.items():
                    with archive.open(f"{key}.npy", "w") as member:
                        _npy.write_array(member, np.asarray(values), version=(1, 0), allow_pickle=False)
            self.publish(name)


def _arrays(done: Done) -> Mapping[str, NDArray[Any]]:
    time_s = math.nan if done.time_s is None else done.time_s
    drift = math.nan if done.drift is None else done.drift
    single = {"time_s": np.array(time_s, np.float64), "drift": np.array(drift, np.float64)}
    return {"number": np.array(done.number, np.int64), **single, **done.outputs}


def _head(member: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    # The magic comes with the header, as numpy's own writer has it for this version of the format.
    _npy.write_array_header_1_0(member, {"descr": _npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
