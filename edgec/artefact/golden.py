"""Golden frames and the features expected of them, as `.npz` files that are the same bytes for the same numbers.

golden/frames.npz             frames    uint8 [M, H, W, 3]
golden/expected_float32.npz   one array per output, [M, …], float32, a head's labels int32: the float32 PyTorch model
golden/expected_shipped.npz   the same: the shipped files in their runtime, on the machine that built them

golden/variants/int8.npz      the same of a graph that a board may choose instead: one file per precision

A model that takes further sizes of frames has the same three again for each, in a folder of its own: golden/480x640/…
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from edgec.artefact.arrays import Form, read_arrays, write_arrays
from edgec.lowering.base import Features, Frames
from edgec.records.manifest import Manifest, SizeFacts

FRAMES = "golden/frames.npz"
EXPECTED_FLOAT32 = "golden/expected_float32.npz"
EXPECTED_SHIPPED = "golden/expected_shipped.npz"
VARIANTS = "golden/variants"
_TYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype(np.float32), "int32": np.dtype(np.int32)}


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
    write_arrays(paths[0], {"frames": frames})
    write_arrays(paths[1], expected_float32)
    write_arrays(paths[2], expected_shipped)


def write_expected(directory: Path, path: str, features: Features) -> None:
    """Write further features expected of the golden frames."""
    (directory / path).parent.mkdir(parents=True, exist_ok=True)
    write_arrays(directory / path, features)


def golden_path(path: str, folder: str) -> str:
    """One of the paths above, in a folder of `golden/`."""
    plain = PurePosixPath(path)
    return str(plain.parent / folder / plain.name)


def read_golden(directory: Path, manifest: Manifest | SizeFacts) -> GoldenData:
    """The content of the three files. Raises `ArtefactError` unless they hold exactly the arrays, shapes and types that the
    manifest's input and outputs say, with finite values."""
    golden = manifest.golden
    arrays = _outputs(manifest)
    frames = read_arrays(directory, golden.frames, {"frames": ((golden.count, *manifest.input.shape[1:]), np.dtype(np.uint8))})
    expected_float32 = read_arrays(directory, golden.expected_float32, arrays)
    expected_shipped = read_arrays(directory, golden.expected_shipped, arrays)
    return GoldenData(frames["frames"], expected_float32, expected_shipped)


def read_expected(directory: Path, path: str, manifest: Manifest | SizeFacts) -> Features:
    """As `read_golden`, for what `write_expected` wrote."""
    return read_arrays(directory, path, _outputs(manifest))


def _outputs(manifest: Manifest | SizeFacts) -> dict[str, Form]:
    count = manifest.golden.count
    return {output.name: ((count, *output.shape[1:]), _TYPES[output.dtype]) for output in manifest.outputs}
