"""What the drift score notices: false alarms on frames like the calibration's, and alarms on others, with int8's true error."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.camera_faults import Pixels, camera_faults
from edgec import checkpoint as checkpoints
from edgec import frames as framing
from edgec.artefact.drift import Drift, read_drift
from edgec.artefact.reading import open_artefact
from edgec.fidelity.reference import frame_features
from edgec.host.facts import available_cores
from edgec.lowering.base import Runner
from edgec.model.camera import CameraModel, assemble
from edgec.model.spec import Size
from edgec.onboard.drift import DIRECTIONS, THRESHOLD
from edgec.onboard.vectorised import cosines
from edgec.verifying import load_runner

FAULTY = 12
"""Frames of the first set that each fault is tried on."""


@dataclass
class Row:
    """Of the frames of one condition: scores, and every patch's cosine to float32 [patches], in the frames' order."""

    name: str
    scores: list[float] = field(default_factory=list)
    cosines: list[NDArray[np.float64]] = field(default_factory=list)

    @property
    def alarms(self) -> int:
        """Frames beyond the threshold."""
        return sum(score > THRESHOLD for score in self.scores)

    def cells(self) -> tuple[str, ...]:
        """Frames, how many alarm, median score, and the shipped model's patch cosine: mean and worst percentile."""
        share = f"{100 * self.alarms / len(self.scores):.1f} % ({self.alarms})"
        return self.name, str(len(self.scores)), share, f"{statistics.median(self.scores):.2f}", *fidelity_cells(self.cosines)


def run_drift(artefact: Path, checkpoint: str, alike: str, unlike: Sequence[str], threads: int | None) -> None:
    """Print the table. `alike` are frames of the calibration's scene that the build never saw, in time; `unlike` are others."""
    opened = open_artefact(artefact)
    size = opened.sizes[0].facts
    drift = read_drift(opened, size)
    assert drift is not None, "the artefact has no drift file"
    extent = Size(*size.input.shape[1:3])
    runner = load_runner(opened, threads or available_cores())
    judge = _Judge(runner, assemble(checkpoints.read(checkpoint), extent, folded=False), drift)
    first = _frames(alike, extent)
    rows = [judge.row(alike, first), *(judge.row(name, _frames(name, extent)) for name in unlike)]
    some = first[len(first) // FAULTY // 2 :: max(1, len(first) // FAULTY)][:FAULTY]
    rows += [judge.row(name, [fault(frame) for frame in some]) for name, fault in camera_faults().items()]
    table = Table("frames", "number", "alarm", "median score", "patch mean", "patch p01", title=f"{artefact}: drift")
    for row in rows:
        table.add_row(*row.cells())
    console = Console(width=130)
    console.print(table)
    like = rows[0]
    bound = 100 * most_likely(like.alarms, len(like.scores))
    alone = independent(like.scores)
    console.print(f"false alarms on {alike}: {like.alarms} of {len(like.scores)}; under {bound:.2f} % (95 %) if the frames were")
    console.print(f"independent. Their scores follow each other so closely that they weigh like {alone:.0f} independent ones")
    for name, loud in (("alarming", True), ("quiet", False)):
        of = [each for row in rows for score, each in zip(row.scores, row.cosines, strict=True) if (score > THRESHOLD) == loud]
        if of:
            mean, p01 = fidelity_cells(of)
            worst = min(float(each.mean()) for each in of)
            console.print(f"{name}: {len(of)} frames, patch cosine mean {mean}, p01 {p01}; the worst frame's mean {worst:.6f}")
    score_ms, frame_ms = judge.cost(some)
    share = 100 * score_ms / frame_ms
    console.print(
        f"a score: {score_operations(drift)} multiply-adds, {score_ms:.3f} ms; a frame: {frame_ms:.2f} ms; {share:.2f} %"
    )


def fidelity_cells(frames: Sequence[NDArray[np.float64]]) -> tuple[str, str]:
    """The mean and the worst percentile of all patches' cosines."""
    values = np.concatenate([each.ravel() for each in frames])
    return f"{values.mean():.6f}", f"{np.percentile(values, 1):.6f}"


def score_operations(drift: Drift) -> int:
    """The multiply-adds of a score: the token less its mean and weighted, its square, and its product with each direction."""
    return len(drift.fitted.world.mean) * (DIRECTIONS + 3)


def most_likely(count: int, of: int, chance: float = 0.05) -> float:
    """The largest rate with which as few as `count` `of` independent trials succeed with this chance: the upper end of a
    one-sided Clopper and Pearson interval ("The use of confidence or fiducial limits", 1934)."""
    low, high = count / of, 1.0
    for _ in range(60):
        rate = (low + high) / 2
        if sum(math.comb(of, k) * rate**k * (1 - rate) ** (of - k) for k in range(count + 1)) > chance:
            low = rate
        else:
            high = rate
    return high


def independent(scores: Sequence[float]) -> float:
    """How many independent values these, in time, weigh as much as for a mean: their number divided by 1 + 2 times the sum of
    the autocorrelations of their logarithms, up to the first that is not positive (Geyer, "Practical Markov chain Monte Carlo",
    1992)."""
    values = np.log(scores)
    values = values - values.mean()
    total, power = 1.0, float(values @ values)
    for lag in range(1, len(values)):
        correlation = float(values[lag:] @ values[:-lag]) / power
        if correlation <= 0:
            break
        total += 2 * correlation
    return len(values) / total


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
            row.cosines.append(cosines(expected, outputs["patches"]))
        return row

    def cost(self, frames: Sequence[Pixels]) -> tuple[float, float]:
        """The median milliseconds of a score and of a run of the artefact, taken in turns."""
        of_score, of_run = [], []
        for frame in frames:
            began = time.perf_counter()
            batch = self._runner(frame[None])
            ran = time.perf_counter()
            self._drift.score({key: values[0] for key, values in batch.items()})
            of_score.append(1000 * (time.perf_counter() - ran))
            of_run.append(1000 * (ran - began))
        return statistics.median(of_score), statistics.median(of_run)


def _frames(source: str, size: Size) -> list[Pixels]:
    return [pixels for _, pixels in framing.batches(framing.load(source).frames, size)]
