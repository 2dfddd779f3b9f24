"""Frames in batches of the size that a model takes. If the last batch is not full it repeats its last frame, and the outputs for
the repeated ones are dropped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]


def filled(frames: Sequence[Frames] | Frames, size: int) -> Frames:
    """Frames [H, W, 3], from one up to `size` of them, as one batch uint8 [size, H, W, 3], contiguous."""
    return np.stack([*frames, *[frames[-1]] * (size - len(frames))])


def batches(frames: Frames, size: int) -> Iterator[tuple[Frames, slice]]:
    """Frames [M, H, W, 3] as batches [size, H, W, 3], each with the slice of frames that it holds, without repetitions."""
    for start in range(0, len(frames), size):
        held = slice(start, min(start + size, len(frames)))
        yield filled(frames[held], size), held


def stacks(frames: Frames, size: int) -> Frames:
    """All batches as one array [ceil(M / size), size, H, W, 3]."""
    return np.stack([batch for batch, _ in batches(frames, size)])
