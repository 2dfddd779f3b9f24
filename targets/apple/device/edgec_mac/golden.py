"""The artefact's golden frames, and what was computed of them when it was built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from edgec_onboard import vectorised
from edgec_onboard.errors import ArtefactError
from edgec_onboard.judging import golden_problem
from numpy.typing import NDArray

from edgec_mac.artefact import FRAMES, REMEDY, Artefact, resolve


def read_golden(artefact: Artefact) -> tuple[NDArray[np.uint8], dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Frames [M, H, W, 3]; outputs of the float32 PyTorch model and of the package in edgec's evaluator [M, …], by name.

    Raises `ArtefactError` if they do not fit the manifest.
    """
    count = artefact.golden_count
    forms = {output.name: ((count, *output.shape[1:]), output.dtype) for output in artefact.outputs}
    frames = _arrays(artefact, artefact.golden_frames, {FRAMES: ((count, *artefact.input_shape[1:]), "uint8")})
    expected = _arrays(artefact, artefact.golden_expected, forms)
    shipped = _arrays(artefact, artefact.golden_shipped, forms)
    for output in artefact.outputs:
        for path, arrays in ((artefact.golden_expected, expected), (artefact.golden_shipped, shipped)):
            problem = golden_problem(output, arrays[output.name], vectorised)
            if problem:
                raise ArtefactError(f"The golden file {path} does not fit the manifest.", evidence=[problem], remedy=REMEDY)
    return frames[FRAMES], expected, shipped


def _arrays(artefact: Artefact, path: str, forms: Mapping[str, tuple[tuple[int, ...], str]]) -> dict[str, NDArray[Any]]:
    """The arrays in a golden file. `forms` are their shapes and types, by name."""
    try:
        with np.load(resolve(artefact.directory, path), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in forms}
    except Exception as error:  # the bytes are not trusted: zipfile and numpy raise a dozen classes for bad ones
        raise ArtefactError(f"The golden file {path} cannot be read.", evidence=[str(error)], remedy=REMEDY) from error
    for name, (shape, dtype) in forms.items():
        if arrays[name].shape != shape or arrays[name].dtype != dtype:
            problem = f"{name} is {arrays[name].dtype} {arrays[name].shape}, expected {dtype} {shape}"
            raise ArtefactError(f"The golden file {path} does not fit the manifest.", evidence=[problem], remedy=REMEDY)
    return arrays
