"""The artefact's files: each is checked before anything is made of it."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contract import FILES, NAME
from .errors import Error, ExitCode

_CHUNK = 1 << 20


def artefact_folder() -> Path:
    """Where the model and the golden frames are: beside the package as it was written, or in `share` where it is installed."""
    package = Path(__file__).resolve().parent
    installed = [folder / "share" / NAME / "artefact" for folder in package.parents]
    beside = package.parent / "artefact"
    return next((folder for folder in (beside, *installed) if folder.is_dir()), beside)


def check_files(folder: Path) -> None:
    """Raises `Error` unless every file is there and has the content that edgec wrote."""
    for file in FILES:
        path = folder / file.path
        try:
            count, digest = _measure(path)
        except OSError as error:
            evidence = f"{path}: {error.strerror}"
        else:
            if (count, digest) == (file.bytes, file.sha256):
                continue
            evidence = f"{path} has {count} bytes, SHA-256 {digest[:12]}..., instead of {file.bytes}, {file.sha256[:12]}..."
        raise Error(
            ExitCode.ARTEFACT, "The model's files are not those that this program is for.", evidence,
            "copy them again from where they are whole, or write the program again with `edgec code`",
        )  # fmt: skip


def read_values(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """A checked file's numbers, which are little-endian. Raises `Error` if there are more or fewer."""
    values = np.fromfile(path, dtype.newbyteorder("<"))
    if values.size != math.prod(shape):
        raise Error(ExitCode.ARTEFACT, "A golden file does not hold what it must.", f"{path}: {values.size} values, not {shape}")
    return values.reshape(shape)


def _measure(path: Path) -> tuple[int, str]:
    digest, count = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
            count += len(piece)
    return count, digest.hexdigest()
