"""What passes through a run: shots from a source, decoded frames, and frames that are done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.frames import Pixels
from edgec.running.results import Result

Outputs = Mapping[str, NDArray[Any]]
"""Of one frame, by name: without the batch's axis. Label maps are int32, all else float32."""


@dataclass(frozen=True)
class Shot:
    """A frame that a source offers. `number` is its index there, from 0, in which damaged frames and those left out count too."""

    name: str
    number: int
    time_s: float | None
    """Time since the beginning of its video or camera; None for pictures."""
    read: Callable[[], Pixels] = field(repr=False, compare=False)
    """Decodes it. Raises `CalibrationError` if it is damaged."""


@dataclass(frozen=True)
class Taken:
    """A decoded shot, and the time at which it was ready to be worked on, by `time.monotonic_ns`."""

    shot: Shot
    pixels: Pixels
    arrived_ns: int


@dataclass(frozen=True, eq=False)
class Done:
    """A frame that went through the model. `frame` is what the model saw, uint8 [H, W, 3]; `at_s` the time since the first frame
    of the run, by the source's rate or, for a camera, by its arrival."""

    name: str
    number: int
    time_s: float | None
    at_s: float
    latency_ms: float
    frame: Pixels
    outputs: Outputs
    results: tuple[Result, ...]
    drift: float | None = None
    """How unlike the calibration frames it is: above 1 it alarms (`edgec.onboard.drift`). None if the artefact cannot tell."""


def outputs_of(outputs: Mapping[str, NDArray[Any]], index: int) -> dict[str, NDArray[Any]]:
    """The outputs of one frame of a batch."""
    return {name: np.asarray(values[index]) for name, values in outputs.items()}
