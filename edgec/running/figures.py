"""How a run went: its rate, and how long frames took. Memory grows by a few bytes a frame."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from edgec.onboard.drift import THRESHOLD
from edgec.onboard.statistics import Summary, summary
from edgec.running.results import ClassShares, DepthRange, Result, TopClass, ValueRange

RECENT = 100
"""The frames that the live line covers."""


@dataclass(frozen=True)
class Recent:
    """Figures of the last frames. `rate` is in frames a second, None before the second batch."""

    rate: float | None
    latency: Summary
    frames: int


class Figures:
    """Times in milliseconds: `latency_ms` by frame, `model_ms` by run of a batch."""

    def __init__(self) -> None:
        self.frames = 0
        self.skipped = 0
        self.latency_ms = array("d")
        self.model_ms = array("d")
        self.after_ms = 0.0
        """The time that drawing, writing and printing took in all."""
        self.began_ns = 0
        self.ended_ns = 0
        self._recent: deque[tuple[int, float]] = deque(maxlen=RECENT)

    def add(self, done_ns: int, latencies_ms: list[float], model_ms: float) -> None:
        """A batch that is done: its frames' latencies, and the time of the model's run."""
        self.frames += len(latencies_ms)
        self.latency_ms.extend(latencies_ms)
        self.model_ms.append(model_ms)
        self._recent.extend((done_ns, latency) for latency in latencies_ms)

    def recent(self) -> Recent:
        """Figures of the last `RECENT` frames, of which there must be one."""
        first, last = self._recent[0][0], self._recent[-1][0]
        after = sum(done > first for done, _ in self._recent)
        rate = after * 1e9 / (last - first) if last > first else None
        return Recent(rate, summary([latency for _, latency in self._recent]), len(self._recent))

    @property
    def seconds(self) -> float:
        """From the beginning of the run to its end."""
        return (self.ended_ns - self.began_ns) / 1e9


class DriftTally:
    """Counts the frames whose drift score is above the threshold."""

    def __init__(self) -> None:
        self.frames = 0
        self.beyond = 0
        self.largest = 0.0
        self.largest_frame = ""

    def add(self, name: str, score: float) -> None:
        """A frame and its score."""
        self.frames += 1
        self.beyond += score > THRESHOLD
        if self.frames == 1 or score > self.largest:
            self.largest, self.largest_frame = score, name

    def to_json(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "threshold": THRESHOLD,
            "frames": self.frames,
            "beyond": self.beyond,
            "largest": self.largest,
            "largest_frame": self.largest_frame,
        }


class Tally:
    """Sums up what heads found over a run: how often each class was on top, each class's mean share of the pixels, and the range
    of depths."""

    def __init__(self) -> None:
        self._classes: dict[str, Counter[str | None]] = {}
        self._shares: dict[str, dict[str, float]] = {}
        self._depths: dict[str, tuple[float, float]] = {}
        self._medians: dict[str, array[float]] = {}
        self._outputs: dict[str, None] = {}
        self._frames = 0

    def add(self, results: tuple[Result, ...]) -> None:
        """The results of one frame."""
        self._frames += 1
        for result in results:
            if isinstance(result, ValueRange) or (isinstance(result, DepthRange) and result.low is None):
                continue
            self._outputs[result.output] = None
            if isinstance(result, TopClass):
                self._classes.setdefault(result.output, Counter())[result.name] += 1
            elif isinstance(result, ClassShares):
                shares = self._shares.setdefault(result.output, {})
                for name, share in result.shares.items():
                    shares[name] = shares.get(name, 0.0) + share
            elif result.low is not None and result.high is not None:
                low, high = self._depths.get(result.output, (result.low, result.high))
                self._depths[result.output] = min(low, result.low), max(high, result.high)
                self._medians.setdefault(result.output, array("d")).append(result.median or 0.0)

    def to_json(self) -> dict[str, dict[str, Any]]:
        """The sums by output, JSON-able."""
        return {output: self._output_json(output) for output in self._outputs}

    def _output_json(self, output: str) -> dict[str, Any]:
        if output in self._classes:
            return {"top_class_frames": {str(name): count for name, count in self._classes[output].most_common()}}
        if output in self._shares:
            return {"mean_shares": {name: share / self._frames for name, share in self._shares[output].items()}}
        low, high = self._depths[output]
        medians = sorted(self._medians[output])
        return {"min": low, "median_of_medians": medians[len(medians) // 2], "max": high}
