"""Some frames of a long recording, so that a robot that stood still does not fill the set: by time first, then by motion.

Both depend on nothing but the recording: the same one always gives the same frames.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median

import numpy as np

from edgec.errors import CalibrationError
from edgec.frames.measuring import NEAR_BITS, perceptual_hash
from edgec.frames.sampling import evenly
from edgec.frames.types import Pixels, Skipped

FEWEST, MOST = 64, 512
"""Frames that are looked at: at least, if there are so many, and at most. As of a video."""
ENOUGH = 32
"""Frames that are kept although nothing moved: with fewer, ranges follow single frames."""
_SECOND_NS = 1_000_000_000


def by_time(times: Sequence[int]) -> list[int]:
    """Indices of frames, about one a second, but at least 64 of them, if there are so many, and at most 512. `times` are in ns,
    ascending."""
    if len(times) <= FEWEST:
        return list(range(len(times)))
    span = times[-1] - times[0]
    step = max(min(_SECOND_NS, span // FEWEST), span // MOST, 1)
    # A camera's clock is never exact: a frame counts as due half of its period before it is.
    early = int(median(later - earlier for earlier, later in pairwise(times))) // 2
    chosen: list[int] = []
    due, index = times[0], 0
    while index < len(times) and len(chosen) < MOST:
        chosen.append(index)
        due += step * max(1, (times[index] + early - due) // step + 1)
        index = max(index + 1, bisect_left(times, due - early))
    return chosen if len(chosen) >= FEWEST else evenly(range(len(times)), FEWEST)


def by_motion(
    indices: Sequence[int], read: Callable[[int], Pixels], name: Callable[[int], str]
) -> tuple[list[int], int, list[Skipped]]:
    """The frames that differ from the last one taken, how many were left out because they do not, and those that are damaged.

    Two frames are the same view if their perceptual hashes differ in at most `NEAR_BITS` of 256 bits. Where fewer than 32 frames
    would remain, they are made up to 32 with others, evenly.
    """
    taken: list[int] = []
    still: list[int] = []
    damaged: list[Skipped] = []
    last = None
    for index in indices:
        try:
            here = perceptual_hash(read(index))
        except CalibrationError as error:
            damaged.append((name(index), "; ".join(error.evidence)))
            continue
        if last is not None and int(np.count_nonzero(here != last)) <= NEAR_BITS:
            still.append(index)
            continue
        taken.append(index)
        last = here
    more = evenly(still, max(0, ENOUGH - len(taken)))
    return sorted([*taken, *more]), len(still) - len(more), damaged
