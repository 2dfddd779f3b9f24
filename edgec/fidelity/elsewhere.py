"""Fidelity away from home: on places that calibration never saw, and on the camera's ills.

The validation frames are from the calibration's own scene. What a static range loses shows where activations leave it: there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from edgec.fidelity.gate import Run, measure_fidelity
from edgec.fidelity.reference import Reference
from edgec.records.evidence import Evidence
from edgec.records.fidelity import StageFidelity


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


def measure_elsewhere(
    elsewhere: Elsewhere, run: Run, batch: int, step: Callable[[], None], evidence: Evidence
) -> tuple[StageFidelity, ...]:
    """The fidelity in each condition, whose name is the stage's."""
    return tuple(measure_fidelity(reference, run, batch, name, step, evidence) for name, reference in elsewhere.each())
