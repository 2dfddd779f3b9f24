"""Arrays in an artefact, as `.npz` files that are the same bytes for the same numbers."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.artefact.contents import inside
from edgec.errors import ArtefactError

Form = tuple[tuple[int, ...], np.dtype[Any]]
"""An array's shape and type."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The zip format's first date."""
_ZIP64 = 2**31
"""From this size on, a member's header is the zip format's longer one."""
_npy: Any = np.lib.format  # numpy does not type it


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the arrays into one file, in the order of their names."""
    # Stored, because compressed bytes differ between versions of zlib; dated, because `numpy.savez` promises no date.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            member.create_system = 3
            array = np.ascontiguousarray(arrays[name])
            # Not always: Python 3.11.4 and later write other longer headers than those before.
            with archive.open(member, "w", force_zip64=array.nbytes >= _ZIP64) as file:
                _npy.write_array(file, array, version=(1, 0), allow_pickle=False)


def read_arrays(directory: Path, path: str, expected: Mapping[str, Form], title: str = "golden file") -> dict[str, NDArray[Any]]:
    """What `write_arrays` wrote to this path of an artefact. `title` is what messages call the file. Raises `ArtefactError`
    unless it holds exactly the arrays that are expected, with finite values."""

    def refuse(problem: str) -> ArtefactError:
        return ArtefactError(
            f"The {title} {path} in {directory} does not fit the manifest.",
            evidence=problem,
            remedy="build the artefact again, or copy it again from where it is whole",
        )

    try:
        with zipfile.ZipFile(inside(directory, path)) as archive:
            names = archive.namelist()
            if sorted(names) != sorted(f"{name}.npy" for name in expected):
                raise refuse(f"it holds {', '.join(names) or 'nothing'}; expected {', '.join(expected)}")
            arrays = {name: _array(archive, f"{name}.npy", shape, dtype) for name, (shape, dtype) in expected.items()}
    except ArtefactError:
        raise
    except Exception as error:  # the bytes are not trusted, and zipfile and numpy raise a dozen classes for bad ones
        raise refuse(str(error) or type(error).__name__) from error
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise refuse(f"{name} holds NaN or Inf")
    return arrays


def _array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED:  # what is stored cannot unpack to more than the file itself
        raise ValueError(f"{name} is compressed")
    with archive.open(member) as file:
        if _npy.read_magic(file) != (1, 0):
            raise ValueError(f"{name} is of another version of the npy format")
        actual_shape, fortran, actual_dtype = _npy.read_array_header_1_0(file)
        if actual_shape != shape or actual_dtype != dtype or fortran:
            raise ValueError(f"{name} is {actual_dtype} {actual_shape}, expected {dtype} {shape}")
        data = file.read()
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} has {len(data)} bytes of numbers, which is not {dtype} {shape}")
    return np.frombuffer(data, dtype).reshape(shape)
