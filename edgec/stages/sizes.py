"""Several sizes in one artefact: one calibration, one plan, and notes about each size.

The artefact holds the weights once, so they are quantised once: smoothing, rounding and the corrections of biases come from the
default size's frames. The ranges of activations are the union over all sizes. Separate ranges would fit each size more closely,
but the largest values are massive activations, which hardly depend on the frame's size, and one plan is one thing to explain, to
search for and to verify.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from edgec.fidelity.metrics import worst
from edgec.lowering.sizes import function_name
from edgec.model.spec import Size
from edgec.onboard.figures import kept
from edgec.records.fidelity import StageFidelity

if TYPE_CHECKING:
    from edgec.graph.statistics import Statistics


def widest_ranges(sizes: Sequence[Mapping[str, Statistics]]) -> Mapping[str, Statistics]:
    """The first size's statistics, with each channel's lowest and highest value over all sizes."""

    def join(first: Mapping[str, Statistics], other: Mapping[str, Statistics]) -> Mapping[str, Statistics]:
        return {
            name: replace(entry, low=np.minimum(entry.low, other[name].low), high=np.maximum(entry.high, other[name].high))
            for name, entry in first.items()
        }

    return reduce(join, sizes)


def widest_peaks(sizes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The largest peak of each tensor over all sizes, by name."""
    return {name: max(peaks.get(name, 0.0) for peaks in sizes) for name in sizes[0]}


def size_notes(sizes: Sequence[Size], fidelity: Mapping[str, Sequence[StageFidelity]]) -> tuple[str, ...]:
    """For the report: the sizes that the artefact takes, and each candidate's fidelity at each size. `fidelity` has an entry for
    each size, by the candidate's name."""
    named = ", ".join(f"{size} (function {function_name(size)})" for size in sizes)
    figures = {
        name: ", ".join(f"{kept(worst(entry))} at {size}" for size, entry in zip(sizes, entries, strict=True))
        for name, entries in fidelity.items()
    }
    return (
        f"one model for frames of several sizes, its weights stored once: {named}; the first is the default",
        *(f"{name}: fidelity {figure}" for name, figure in figures.items()),
    )
