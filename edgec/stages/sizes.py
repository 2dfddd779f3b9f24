"""Several sizes in one artefact: one calibration, one plan, and what is said of them.

Weights are in the artefact once, so they are quantised once: smoothing, rounding and the corrections of biases follow from what
the default size's frames show. Ranges hold what activations are at every size: their union. Ranges of each size's own would fit
it closer, but the largest values are massive activations, which hardly know of the frame's size, and one plan is one thing to
explain, to search for and to verify.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from edgec.fidelity.metrics import worst
from edgec.fidelity.reference import Reference
from edgec.lowering.sizes import function_name
from edgec.model.spec import Size
from edgec.records.fidelity import StageFidelity

if TYPE_CHECKING:
    from edgec.graph.statistics import Statistics


def widest_ranges(found: Sequence[Mapping[str, Statistics]]) -> Mapping[str, Statistics]:
    """The first size's statistics, each channel's lowest and highest value being those of all sizes."""

    def join(first: Mapping[str, Statistics], other: Mapping[str, Statistics]) -> Mapping[str, Statistics]:
        return {
            name: replace(entry, low=np.minimum(entry.low, other[name].low), high=np.maximum(entry.high, other[name].high))
            for name, entry in first.items()
        }

    return reduce(join, found)


def widest_peaks(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """By tensor, the largest of all sizes."""
    return {name: max(peaks.get(name, 0.0) for peaks in found) for name in found[0]}


def size_of(reference: Reference) -> Size:
    return Size(*reference.frames.shape[1:3])


def size_notes(sizes: Sequence[Size], found: Mapping[str, Sequence[StageFidelity]]) -> tuple[str, ...]:
    """For the report: what the artefact takes, and each candidate's fidelity at each size."""
    named = ", ".join(f"{size} (function {function_name(size)})" for size in sizes)
    figures = {
        name: ", ".join(f"{worst(entry):.6f} at {size}" for size, entry in zip(sizes, entries, strict=True))
        for name, entries in found.items()
    }
    return (
        f"one model for frames of several sizes, its weights stored once: {named}; the first is the default",
        *(f"{name}: worst cosine {figure}" for name, figure in figures.items()),
    )
