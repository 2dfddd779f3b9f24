"""What follows from a run's columns: made here when it is measured, and checked by the same rules when it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgec.onboard.statistics import summary
from edgec.records.report import Spread

Floats = NDArray[np.float64]
DECIMALS = 4
"""Of milliseconds, in the columns: a tenth of a microsecond."""


@dataclass(frozen=True)
class Figures:
    """What a run's columns amount to. Times are milliseconds, but for `seconds`."""

    latency: Spread
    wait: Spread
    service: Spread
    interval: Spread | None
    jitter_ms: float | None
    late: int | None
    """Frames that were done after their deadline."""
    seconds: float


def figures(
    arrived_ms: Sequence[float],
    started_ms: Sequence[float],
    done_ms: Sequence[float],
    stream: Sequence[int],
    deadline_ms: float | None,
) -> Figures:
    """Of columns of one length, not empty, in the order of `done_ms`."""
    arrived, started, done = (np.asarray(column, dtype=np.float64) for column in (arrived_ms, started_ms, done_ms))
    streams = np.asarray(stream, dtype=np.int64)
    latency, gaps = _between(done, arrived), intervals(done, streams)
    return Figures(
        latency=spread(latency),
        wait=spread(_between(started, arrived)),
        service=spread(_between(done, started)),
        interval=spread(gaps) if len(gaps) else None,
        jitter_ms=round(float(np.std(gaps)), DECIMALS) if len(gaps) else None,
        late=None if deadline_ms is None else int(np.count_nonzero(latency > deadline_ms)),
        seconds=round(float(done.max() - arrived.min()), DECIMALS) / 1000,
    )


def intervals(done: Floats, stream: NDArray[np.int64]) -> Floats:
    """Between one frame's features and the next one's of the same stream, stream by stream."""
    gaps = [_between(ends[1:], ends[:-1]) for ends in (done[stream == number] for number in np.unique(stream))]
    return np.concatenate(gaps)


def spread(values: Floats) -> Spread:
    """Percentiles are nearest-rank; nothing is clipped. `values` is not empty."""
    # Sorted by numpy, because there may be millions of them.
    return Spread(count=len(values), **vars(summary(np.sort(values).tolist())))


def _between(later: Floats, earlier: Floats) -> Floats:
    # Differences of rounded numbers are rounded again, so that a deadline is met or missed alike wherever it is asked.
    difference: Floats = np.round(later - earlier, DECIMALS)
    return difference
