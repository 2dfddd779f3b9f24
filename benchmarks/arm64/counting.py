"""Instructions that one frame takes, counted under emulation."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks.arm64.debian import Unavailable
from benchmarks.arm64.machine import run_emulated
from benchmarks.arm64.plugin import counting
from edgec.lowering.base import LoweredModel

RUNS = 2
AGREE = 0.01
"""Two runs of one frame must agree this well."""
TIMEOUT_S = 7200
_WORKER = Path(__file__).with_name("frames.py")
_MARK = re.compile(r"^mark (\d+) (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Count:
    """Instructions of a frame, for each run."""

    runs: tuple[int, ...]

    @property
    def millions(self) -> int:
        """Of the mean run, rounded."""
        return round(sum(self.runs) / len(self.runs) / 1e6)

    @property
    def differ(self) -> float:
        """By how much the runs differ, as a share of the smallest."""
        return max(self.runs) / min(self.runs) - 1


def count(models: Sequence[LoweredModel], frames: NDArray[np.uint8], cpu: str, runs: int = RUNS) -> list[Count]:
    """Instructions that each model takes for `frames`, uint8 [1, H, W, 3], as this CPU, in one thread, after a run that does not
    count.

    Raises `Unavailable` where nothing can be emulated or counted, or if the program fails.
    """
    built = counting()
    with TemporaryDirectory(prefix="edgec-counts-") as name:
        folder = Path(name)
        np.save(folder / "frames.npy", frames)
        request = {"models": [model.to_json() for model in models], "frames": str(folder / "frames.npy"), "runs": runs}
        (folder / "request.json").write_text(json.dumps(request))
        log = folder / "log"
        try:
            done = run_emulated(
                [_WORKER, folder / "request.json"], cpu, timeout=TIMEOUT_S, environment=built.environment(log), qemu=built.qemu
            )
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"not counted within {TIMEOUT_S} s") from error
        if done.returncode:
            raise Unavailable(f"as {cpu}: {done.stderr.strip()[-400:] or f'it ended with {done.returncode}'}")
        return counts_of(log.read_text(), len(models), runs)


def counts_of(log: str, models: int, runs: int) -> list[Count]:
    """From the plugin's lines. Raises `Unavailable` if a mark is missing."""
    marks = {int(mark): int(sum_) for mark, sum_ in _MARK.findall(log)}
    try:
        sums = [[marks[1000 * model + run] for run in range(runs + 1)] for model in range(models)]
    except KeyError as error:
        raise Unavailable(f"mark {error} is not in the log") from error
    return [Count(tuple(after - before for before, after in pairwise(each))) for each in sums]
