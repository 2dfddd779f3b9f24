"""What the drift score notices: false alarms on frames like the calibration's, and alarms on others, with int8's true error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from rich.console import Console
from rich.table import Table

from edgec import checkpoint as checkpoints
from edgec import frames as framing
from edgec.artefact.drift import Drift, read_drift
from edgec.artefact.reading import open_artefact
from edgec.fidelity.reference import frame_features
from edgec.lowering.base import Runner
from edgec.model.camera import CameraModel, assemble
from edgec.model.spec import Size
from edgec.onboard.drift import THRESHOLD
from edgec.onboard.vectorised import cosines
from edgec.verifying import load_runner

Pixels = NDArray[np.uint8]
DISTURBED = 25
"""Frames of the first set that each disturbance is tried on."""


@dataclass
class Row:
    """Scores and patch cosines to float32 of the frames of one condition."""

    name: str
    scores: list[float] = field(default_factory=list)
    cosines: list[float] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """Frames, share that alarms, median score, the mean cosine of patches."""
        alarms = sum(score > THRESHOLD for score in self.scores)
        share = f"{100 * alarms / len(self.scores):.1f} % ({alarms})"
        return self.name, str(len(self.scores)), share, f"{np.median(self.scores):.2f}", f"{np.mean(self.cosines):.5f}"


def run_drift(artefact: Path, checkpoint: str, alike: str, unlike: Sequence[str], threads: int | None) -> None:
    """Print the table. `alike` are frames of the calibration's scene that the artefact never saw, `unlike` other sets."""
    opened = open_artefact(artefact)
    size = opened.sizes[0].facts
    drift = read_drift(opened, size)
    assert drift is not None, "the artefact has no drift file"
    extent = Size(*size.input.shape[1:3])
    float32 = assemble(checkpoints.read(checkpoint), extent, folded=False)
    judge = _Judge(load_runner(opened, threads), float32, drift)
    first = _frames(alike, extent)
    rows = [judge.row(alike, first), *(judge.row(name, _frames(name, extent)) for name in unlike)]
    some = first[:: max(1, len(first) // DISTURBED)][:DISTURBED]
    for name, disturb in disturbances().items():
        rows.append(judge.row(name, [disturb(frame) for frame in some]))
    table = Table("frames", "number", "alarm", "median score", "patch cosine to float32", title=f"{artefact}: drift")
    for row in rows:
        table.add_row(*row.cells())
    console = Console()
    console.print(table)
    for name, loud in (("alarming", True), ("quiet", False)):
        values = [c for row in rows for s, c in zip(row.scores, row.cosines, strict=True) if (s > THRESHOLD) == loud]
        if values:
            console.print(f"{name}: {len(values)} frames, patch cosine {np.mean(values):.5f}, the worst {min(values):.5f}")


def disturbances() -> dict[str, Callable[[Pixels], Pixels]]:
    """What can happen to a camera, by name; each takes and gives uint8 [H, W, 3]."""
    random = np.random.default_rng(0)

    def scaled(share: float) -> Callable[[Pixels], Pixels]:
        return lambda frame: _bytes(frame * share + random.normal(0, 3, frame.shape))

    def blurred(radius: float) -> Callable[[Pixels], Pixels]:
        return lambda frame: np.asarray(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(radius)))

    def noisy(spread: float) -> Callable[[Pixels], Pixels]:
        return lambda frame: _bytes(frame + random.normal(0, spread, frame.shape))

    def turned(degrees: float) -> Callable[[Pixels], Pixels]:
        return lambda frame: _turned(frame, degrees)

    def covered(share: float) -> Callable[[Pixels], Pixels]:
        return lambda frame: _covered(frame, share, random)

    return {
        "half the light": scaled(0.5),
        "a quarter of the light": scaled(0.25),
        "a tenth of the light": scaled(0.1),
        "darkness": scaled(0.02),
        "twice the light": scaled(2),
        "blurred by 1 pixel": blurred(1),
        "blurred by 2 pixels": blurred(2),
        "blurred by 4 pixels": blurred(4),
        "noise of 10": noisy(10),
        "noise of 30": noisy(30),
        "turned by 5 degrees": turned(5),
        "turned by 15 degrees": turned(15),
        "turned by 90 degrees": turned(90),
        "upside down": turned(180),
        "mirrored": lambda frame: np.ascontiguousarray(frame[:, ::-1]),
        "a tenth covered": covered(0.1),
        "a quarter covered": covered(0.25),
        "half covered": covered(0.5),
        "covered": covered(1),
        "BGR for RGB": lambda frame: np.ascontiguousarray(frame[..., ::-1]),
        "grey": lambda frame: _bytes(np.repeat(frame.mean(axis=-1, keepdims=True), 3, axis=-1)),
    }


class _Judge:
    def __init__(self, runner: Runner, float32: CameraModel, drift: Drift) -> None:
        self._runner, self._float32, self._drift = runner, float32, drift

    def row(self, name: str, frames: Sequence[Pixels]) -> Row:
        """Runs the artefact and the float32 model on each frame."""
        row = Row(name)
        for frame in frames:
            outputs = {key: values[0] for key, values in self._runner(frame[None]).items()}
            row.scores.append(self._drift.score(outputs))
            expected = frame_features(self._float32, frame)["patches"][0]
            row.cosines.append(float(cosines(expected, outputs["patches"]).mean()))
        return row


def _frames(source: str, size: Size) -> list[Pixels]:
    return [pixels for _, pixels in framing.batches(framing.load(source).frames, size)]


def _bytes(values: NDArray[np.floating]) -> Pixels:
    return np.clip(values, 0, 255).astype(np.uint8)


def _turned(frame: Pixels, degrees: float) -> Pixels:
    """Cut so far that no corner is empty, and enlarged again."""
    height, width = frame.shape[:2]
    picture = Image.fromarray(frame)
    if degrees % 90:
        margin = width // 8, height // 8
        picture = picture.rotate(degrees, Image.Resampling.BICUBIC)
        picture = picture.crop((*margin, width - margin[0], height - margin[1]))
    else:
        picture = picture.rotate(degrees, expand=True)
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))


def _covered(frame: Pixels, share: float, random: np.random.Generator) -> Pixels:
    """From the left, by something dark and without detail."""
    result = frame.copy()
    columns = round(share * frame.shape[1])
    result[:, :columns] = _bytes(random.normal(40, 6, (frame.shape[0], columns, 3)))
    return result
