"""Fidelity away from home: on places that calibration never saw, and on the camera's ills.

The validation frames are from the calibration's own scene. What a static range loses shows where activations leave it: there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from edgec.fidelity.gate import Run, measure_fidelity
from edgec.fidelity.reference import Reference
from edgec.frames.ills import ALIKE, ILLS
from edgec.frames.types import Pixels
from edgec.records.evidence import Evidence
from edgec.records.fidelity import StageFidelity

OTHER_PLACES = "other places"


@dataclass(frozen=True)
class Elsewhere:
    """A reference over the frames of all conditions, one after the other, and how many are each one's."""

    reference: Reference
    conditions: tuple[tuple[str, int], ...]

    def each(self) -> Iterator[tuple[str, Reference]]:
        """By condition, the reference of its frames."""
        start = 0
        for name, count in self.conditions:
            part = slice(start, start + count)
            features = {output: values[part] for output, values in self.reference.features.items()}
            yield name, replace(self.reference, frames=self.reference.frames[part], features=features)
            start += count

    def batches(self, size: int) -> int:
        """How many runs of the model all conditions take."""
        return sum(-(-count // size) for _, count in self.conditions)


def conditions(home: Sequence[Pixels], foreign: Sequence[Pixels]) -> tuple[list[Pixels], tuple[tuple[str, int], ...]]:
    """The frames of all conditions, and each one's name and number: the `foreign` frames as they are, if there are any, and the
    `home` frames, at least one, with each of the camera's ills."""
    frames, names = list(foreign), [(OTHER_PLACES, len(foreign))] if foreign else []
    for name, ill in ILLS.items():
        made = [ill(frame) for frame in (home[:1] if name in ALIKE else home)]
        frames += made
        names.append((name, len(made)))
    return frames, tuple(names)


def measure_elsewhere(
    elsewhere: Elsewhere, run: Run, batch: int, step: Callable[[], None], evidence: Evidence
) -> tuple[StageFidelity, ...]:
    """The fidelity in each condition, whose name is the stage's."""
    return tuple(measure_fidelity(reference, run, batch, name, step, evidence) for name, reference in elsewhere.each())
