"""The model: nobody gets one whose files are not those that edgec wrote, or that fails its self-test on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contract import DRIFT, ENTRY, GOLDEN, INPUT, OUTPUTS, Outputs
from .drift import Drift
from .errors import Error, ExitCode
from .files import check_files, read_values
from .frame import Pixels
from .runtime import Runtime
from .self_test import OutputCheck, check_outputs, judge


class Model:
    """For one thread at a time: give each its own."""

    def __init__(self, artefact: Path | str, *, threads: int = 0) -> None:
        """Checks the files in the folder `artefact` by their hashes, opens the model, and runs its golden frames. Without
        `threads`, as many as this process may use. Raises `Error`."""
        folder = Path(artefact)
        check_files(folder)
        self.runtime = Runtime(folder / ENTRY, threads or usable_cores())
        self._staged: Pixels | None = None
        self.checks: tuple[OutputCheck, ...] = self._self_test(folder)
        self._drift = Drift(folder, DRIFT) if DRIFT else None

    def run(self, frames: Pixels | Sequence[Pixels]) -> Outputs:
        """The outputs for one frame, uint8 [height, width, 3] in RGB, or for one batch of them, valid until the next run. A
        batch that is not full repeats its last frame. A batch that is packed is read where it is; anything else, such as rows
        with a stride or BGR by `frame[..., ::-1]`, is copied once. Raises `Error` for frames of another size (`fit` brings
        them to it), and if the runtime fails."""
        return Outputs(*self._infer(self._packed(frames)))

    def drift(self, outputs: Outputs, index: int = 0) -> float | None:
        """How unlike the calibration frames a frame is, by the outputs of its batch: above `DRIFT.threshold` it alarms
        (`alarms`). None if the artefact cannot tell."""
        return self._drift.score(getattr(outputs, self._drift.member)[index]) if self._drift else None

    def _packed(self, frames: Pixels | Sequence[Pixels]) -> Pixels:
        given = frames[None] if isinstance(frames, np.ndarray) and frames.ndim == 3 else frames
        kinds = {f"{frame.dtype} {frame.shape}" for frame in given}
        if kinds != {f"uint8 {INPUT.shape[1:]}"} or len(given) > INPUT.batch:
            raise Error(
                ExitCode.FRAMES, "Frames are not what the model takes.",
                f"it takes {INPUT.batch} of uint8 {INPUT.shape[1:]}, given {len(given)} of {', '.join(sorted(kinds))}",
                "give frames of that size, or bring them to it with fit()",
            )  # fmt: skip
        if isinstance(given, np.ndarray) and given.shape == INPUT.shape and given.flags.c_contiguous:
            return given
        if self._staged is None:
            self._staged = np.empty(INPUT.shape, np.uint8)
        for index in range(INPUT.batch):
            self._staged[index] = given[min(index, len(given) - 1)]
        return self._staged

    def _infer(self, batch: Pixels) -> list[NDArray[Any]]:
        outputs = []
        for facts, value in zip(OUTPUTS, self.runtime.infer(batch), strict=True):
            if tuple(value.shape) != facts.shape:
                raise Error(
                    ExitCode.ARTEFACT, "The model gives something else than this program was written for.",
                    f"{facts.name}: {tuple(value.shape)} instead of {facts.shape}",
                )  # fmt: skip
            outputs.append(np.asarray(value, facts.dtype))
        return outputs

    def _self_test(self, folder: Path) -> tuple[OutputCheck, ...]:
        """Raises `Error` with each output that is too far from what was recorded."""
        frames = read_values(folder / GOLDEN.frames, np.dtype(np.uint8), (GOLDEN.count, *INPUT.shape[1:]))
        actual = [np.empty((GOLDEN.count, *facts.shape[1:]), facts.dtype) for facts in OUTPUTS]
        for start in range(0, GOLDEN.count, INPUT.batch):
            held = min(INPUT.batch, GOLDEN.count - start)
            batch = self._packed(frames[start : start + held])
            for all_values, values in zip(actual, self._infer(batch), strict=True):
                all_values[start : start + held] = values[:held]
        recorded = [read_values(folder / facts.recorded, facts.dtype, (GOLDEN.count, *facts.shape[1:])) for facts in OUTPUTS]
        return judge(check_outputs(actual, recorded))


def usable_cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
