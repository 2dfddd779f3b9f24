"""The artefact's golden frames, and what was made of them when it was built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec_mac.artefact import FRAMES, LABELS, REMEDY, Artefact, Tensor, inside
from edgec_mac.errors import ArtefactError


def read_golden(artefact: Artefact) -> tuple[NDArray[np.uint8], dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Frames [M, H, W, 3], outputs of the float32 PyTorch model, and those of the package in edgec's evaluator, by name.

    Raises `ArtefactError` if they do not fit the manifest.
    """
    count = artefact.golden_count
    wanted = {output.name: ((count, *output.shape[1:]), output.dtype) for output in artefact.outputs}
    frames = _arrays(artefact, artefact.golden_frames, {FRAMES: ((count, *artefact.input_shape[1:]), "uint8")})
    expected = _arrays(artefact, artefact.golden_expected, wanted)
    shipped = _arrays(artefact, artefact.golden_shipped, wanted)
    for output in artefact.outputs:
        for path, arrays in ((artefact.golden_expected, expected), (artefact.golden_shipped, shipped)):
            _check(output, path, arrays[output.name])
    return frames[FRAMES], expected, shipped


def _check(output: Tensor, path: str, values: NDArray[Any]) -> None:
    """What an output recorded can hold."""
    problem = "" if np.isfinite(values).all() else f"{output.name} holds NaN or Inf"
    if output.role == LABELS and (values.min() < 0 or (output.classes and values.max() >= output.classes)):
        problem = f"{output.name} holds labels from {values.min()} to {values.max()}"
    if problem:
        raise ArtefactError(f"The golden file {path} does not fit the manifest.", evidence=[problem], remedy=REMEDY)


def _arrays(artefact: Artefact, path: str, wanted: Mapping[str, tuple[tuple[int, ...], str]]) -> dict[str, NDArray[Any]]:
    """`wanted` are shapes and types by name."""
    try:
        with np.load(inside(artefact.directory, path), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in wanted}
    except Exception as error:  # bytes from outside: zipfile and numpy raise a dozen classes for bad ones
        raise ArtefactError(f"The golden file {path} cannot be read.", evidence=[str(error)], remedy=REMEDY) from error
    for name, (shape, dtype) in wanted.items():
        if arrays[name].shape != shape or arrays[name].dtype != dtype:
            found = f"{name} is {arrays[name].dtype} {arrays[name].shape}, expected {dtype} {shape}"
            raise ArtefactError(f"The golden file {path} does not fit the manifest.", evidence=[found], remedy=REMEDY)
    return arrays
