"""Frames in batches of a model's own size. A last batch that is not full repeats its last frame; what the model makes of it is
left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]


def filled(frames: Sequence[Frames] | Frames, size: int) -> Frames:
    """At least one frame [H, W, 3], and at most `size`, as uint8 [size, H, W, 3], contiguous."""
    return np.stack([*frames, *[frames[-1]] * (size - len(frames))])


def batches(frames: Frames, size: int) -> Iterator[tuple[Frames, slice]]:
    """Frames [M, H, W, 3] as batches [size, H, W, 3], each with the places of those that it holds, filler apart."""
    for start in range(0, len(frames), size):
        places = slice(start, min(start + size, len(frames)))
        yield filled(frames[places], size), places


def stacks(frames: Frames, size: int) -> Frames:
    """All batches as one array [ceil(M / size), size, H, W, 3]."""
    return np.stack([batch for batch, _ in batches(frames, size)])
