"""Latency of contenders that live in one process, in interleaved blocks, and what may be said of the ratio of two of them."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.contender import Contender
from edgec.frames import Pixels

BLOCK = 8
"""Recorded runs in a row, at most."""
BLOCK_MS = 1500.0
"""Slow models get shorter blocks."""
LEAD_IN_MS = 100.0
"""Unrecorded runs at the beginning of a block, one at least: other contenders' threads spin for a while before they sleep."""
DRAWS = 4000

Blocks = tuple[tuple[float, ...], ...]
"""Milliseconds, by round."""


@dataclass(frozen=True)
class Ratio:
    """Of medians, with the 95 % interval of a bootstrap over blocks."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def race(contenders: Sequence[Contender], frames: Sequence[Pixels], rounds: int) -> list[Blocks]:
    """Each contender's blocks, in their order. In a round all take one turn, in random order."""
    sizes = [_block_size(contender, frames[0]) for contender in contenders]
    recorded: list[list[tuple[float, ...]]] = [[] for _ in contenders]
    order = random.Random(0)
    for number in range(rounds):
        turns = list(range(len(contenders)))
        order.shuffle(turns)
        for turn in turns:
            run = contenders[turn].run
            _lead_in(contenders[turn], frames[0])
            block = []
            for index in range(sizes[turn]):
                frame = frames[(number * BLOCK + index) % len(frames)]
                begun = time.perf_counter_ns()
                run(frame)
                block.append((time.perf_counter_ns() - begun) / 1e6)
            recorded[turn].append(tuple(block))
    return [tuple(blocks) for blocks in recorded]


def percentile(blocks: Blocks, share: float) -> float:
    """Of all samples together, by nearest rank."""
    return float(np.percentile([sample for block in blocks for sample in block], share, method="inverted_cdf"))


def median(blocks: Blocks) -> float:
    """Milliseconds, of all samples together."""
    return statistics.median(sample for block in blocks for sample in block)


def ratio(ours: Blocks, theirs: Blocks) -> Ratio:
    """Rounds are drawn again with replacement, the same for both: what disturbed a round disturbed both contenders."""
    a, b = np.array(ours), np.array(theirs)
    drawn = np.random.default_rng(0).integers(0, len(a), (DRAWS, len(a)))
    drawn_ratios = np.median(a[drawn].reshape(DRAWS, -1), axis=1) / np.median(b[drawn].reshape(DRAWS, -1), axis=1)
    low, high = np.percentile(drawn_ratios, (2.5, 97.5))
    return Ratio(median(ours) / median(theirs), float(low), float(high))


def _block_size(contender: Contender, frame: Pixels) -> int:
    contender.run(frame)
    begun = time.perf_counter()
    contender.run(frame)
    return max(2, min(BLOCK, int(BLOCK_MS / 1000 / (time.perf_counter() - begun))))


def _lead_in(contender: Contender, frame: Pixels) -> None:
    begun = time.perf_counter()
    while True:
        contender.run(frame)
        if (time.perf_counter() - begun) * 1000 >= LEAD_IN_MS:
            return
