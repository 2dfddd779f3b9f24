"""How a run went: its rate, and how long frames took. Memory grows by a few bytes a frame."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from edgec.onboard.statistics import Summary, summary
from edgec.running.results import ClassFound, DepthFound, MaskFound, Result, ValuesFound

RECENT = 100
"""Frames that the live line speaks of."""


@dataclass(frozen=True)
class Recent:
    """Of the last frames. The rate is None before the second batch."""

    rate: float | None
    latency: Summary
    frames: int


class Figures:
    """Milliseconds by frame; `model_ms` and `fitting_ms` by run, of a batch each."""

    def __init__(self) -> None:
        self.frames = 0
        self.skipped = 0
        self.latency_ms = array("d")
        self.model_ms = array("d")
        self.after_ms = 0.0
        """All the time that drawing, writing and telling took."""
        self.began_ns = 0
        self.ended_ns = 0
        self._recent: deque[tuple[int, float]] = deque(maxlen=RECENT)

    def ran(self, done_ns: int, latencies_ms: list[float], model_ms: float) -> None:
        self.frames += len(latencies_ms)
        self.latency_ms.extend(latencies_ms)
        self.model_ms.append(model_ms)
        self._recent.extend((done_ns, latency) for latency in latencies_ms)

    def recent(self) -> Recent:
        first, last = self._recent[0][0], self._recent[-1][0]
        after = sum(done > first for done, _ in self._recent)
        rate = after * 1e9 / (last - first) if last > first else None
        return Recent(rate, summary([latency for _, latency in self._recent]), len(self._recent))

    @property
    def seconds(self) -> float:
        return (self.ended_ns - self.began_ns) / 1e9


class Tally:
    """What heads found over the whole run: how often each class was on top, each class's mean share of the pixels, and the range
    of depths."""

    def __init__(self) -> None:
        self._classes: dict[str, Counter[str | None]] = {}
        self._shares: dict[str, dict[str, float]] = {}
        self._depths: dict[str, tuple[float, float]] = {}
        self._medians: dict[str, array[float]] = {}
        self._outputs: dict[str, None] = {}
        self._frames = 0

    def add(self, results: tuple[Result, ...]) -> None:
        self._frames += 1
        for result in results:
            if isinstance(result, ValuesFound) or (isinstance(result, DepthFound) and result.low is None):
                continue
            self._outputs[result.output] = None
            if isinstance(result, ClassFound):
                self._classes.setdefault(result.output, Counter())[result.name] += 1
            elif isinstance(result, MaskFound):
                shares = self._shares.setdefault(result.output, {})
                for name, share in result.shares.items():
                    shares[name] = shares.get(name, 0.0) + share
            elif result.low is not None and result.high is not None:
                low, high = self._depths.get(result.output, (result.low, result.high))
                self._depths[result.output] = min(low, result.low), max(high, result.high)
                self._medians.setdefault(result.output, array("d")).append(result.median or 0.0)

    def plain(self) -> dict[str, dict[str, Any]]:
        """By output, JSON-able."""
        return {output: self._plain(output) for output in self._outputs}

    def _plain(self, output: str) -> dict[str, Any]:
        if output in self._classes:
            return {"top_class_frames": {str(name): count for name, count in self._classes[output].most_common()}}
        if output in self._shares:
            return {"mean_shares": {name: share / self._frames for name, share in self._shares[output].items()}}
        low, high = self._depths[output]
        medians = sorted(self._medians[output])
        return {"min": low, "median_of_medians": medians[len(medians) // 2], "max": high}
