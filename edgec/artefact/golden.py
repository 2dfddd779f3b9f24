"""Golden frames and the features expected of them, as `.npz` files that are the same bytes for the same numbers.

golden/frames.npz             frames    uint8 [M, H, W, 3]
golden/expected_float32.npz   one array per output, [M, …], float32, a head's labels int32: the float32 PyTorch model
golden/expected_shipped.npz   the same: the shipped files in their runtime, on the machine that built them

golden/variants/int8.npz      the same of a graph that a board may choose instead: one file per precision

A model that takes further sizes of frames has the same three again for each, in a folder of its own: golden/480x640/…
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.artefact.contents import inside
from edgec.errors import ArtefactError
from edgec.lowering.base import Features, Frames
from edgec.records.manifest import Manifest, SizeFacts

FRAMES = "golden/frames.npz"
EXPECTED_FLOAT32 = "golden/expected_float32.npz"
EXPECTED_SHIPPED = "golden/expected_shipped.npz"
VARIANTS = "golden/variants"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The zip format's first date."""
_TYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype(np.float32), "int32": np.dtype(np.int32)}
_npy: Any = np.lib.format  # numpy does not type it


@dataclass(frozen=True)
class GoldenData:
    """M frames, and by output name the features expected of them, M along the first axis."""

    frames: Frames
    expected_float32: Features
    expected_shipped: Features


def write_golden(
    directory: Path, frames: Frames, expected_float32: Features, expected_shipped: Features, *, folder: str = ""
) -> None:
    """Write the three files into `golden/` of an artefact that is being written, or into a folder there."""
    paths = [directory / golden_path(path, folder) for path in (FRAMES, EXPECTED_FLOAT32, EXPECTED_SHIPPED)]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    _write(paths[0], {"frames": frames})
    _write(paths[1], expected_float32)
    _write(paths[2], expected_shipped)


def write_expected(directory: Path, path: str, features: Features) -> None:
    """Write further features expected of the golden frames."""
    (directory / path).parent.mkdir(parents=True, exist_ok=True)
    _write(directory / path, features)


def golden_path(path: str, folder: str) -> str:
    """One of the paths above, in a folder of `golden/`."""
    plain = PurePosixPath(path)
    return str(plain.parent / folder / plain.name)


def read_golden(directory: Path, manifest: Manifest | SizeFacts) -> GoldenData:
    """The content of the three files. Raises `ArtefactError` unless they hold exactly the arrays, shapes and types that the
    manifest's input and outputs say, with finite values."""
    golden = manifest.golden
    arrays = _outputs(manifest)
    frames = _read(directory, golden.frames, {"frames": ((golden.count, *manifest.input.shape[1:]), np.dtype(np.uint8))})
    expected_float32 = _read(directory, golden.expected_float32, arrays)
    expected_shipped = _read(directory, golden.expected_shipped, arrays)
    return GoldenData(frames["frames"], expected_float32, expected_shipped)


def read_expected(directory: Path, path: str, manifest: Manifest | SizeFacts) -> Features:
    """As `read_golden`, for what `write_expected` wrote."""
    return _read(directory, path, _outputs(manifest))


def _outputs(manifest: Manifest | SizeFacts) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    count = manifest.golden.count
    return {output.name: ((count, *output.shape[1:]), _TYPES[output.dtype]) for output in manifest.outputs}


def _write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    # Stored, because compressed bytes differ between versions of zlib; dated, because `numpy.savez` promises no date.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            member.create_system = 3
            with archive.open(member, "w", force_zip64=True) as file:
                _npy.write_array(file, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False)


def _read(directory: Path, path: str, expected: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> dict[str, NDArray[Any]]:
    def refuse(problem: str) -> ArtefactError:
        return ArtefactError(
            f"The golden file {path} in {directory} does not fit the manifest.",
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
