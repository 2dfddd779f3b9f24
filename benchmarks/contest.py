"""Latency and fidelity of an edgec artefact and of what a user would otherwise deploy, in one process and one run."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.peers import Contender, edgec_contenders, peer_contenders
from edgec import frames as framing
from edgec.evidence import Evidence
from edgec.fidelity.metrics import Features, Fidelity
from edgec.latency import host
from edgec.model.spec import Size
from edgec.report.schema import StageFidelity

BLOCK = 8
"""Recorded runs in a row."""


@dataclass
class Result:
    contender: Contender
    fidelity: StageFidelity
    rounds_ms: list[list[float]] = field(default_factory=list)

    @property
    def p50(self) -> float:
        return statistics.median(sample for block in self.rounds_ms for sample in block)

    @property
    def p99(self) -> float:
        return float(np.percentile([sample for block in self.rounds_ms for sample in block], 99))


def run_contest(
    checkpoint: str, calibration: str, evaluation: str | None, size: Size, *, rounds: int, threads: int | None
) -> None:
    """Prints a table: edgec's candidates and the peers."""
    threads = threads or host.available_cores()
    calibrate, judge = _frames(calibration, evaluation, size)
    with tempfile.TemporaryDirectory() as folder:
        contenders = [
            *edgec_contenders(checkpoint, calibration, size, threads, Path(folder)),
            *peer_contenders(checkpoint, calibrate, size, threads, Path(folder)),
        ]
        expected = [contenders[-1].run(frame) for frame in judge]
        results = [Result(contender, _fidelity(contender.run, judge, expected)) for contender in contenders]
        _race(results, judge, rounds)
    _print(results, len(calibrate), len(judge), size, threads)


def _frames(calibration: str, evaluation: str | None, size: Size) -> tuple[list[framing.Pixels], list[framing.Pixels]]:
    split = framing.split(framing.load(calibration))
    judges = framing.load(evaluation).frames if evaluation else split.validation
    calibrate = [pixels for _, pixels in framing.batches(split.calibration, size)]
    return calibrate, [pixels for _, pixels in framing.batches(judges, size)]


def _fidelity(
    run: Callable[[NDArray[np.uint8]], Features], frames: Sequence[NDArray[np.uint8]], expected: Sequence[Features]
) -> StageFidelity:
    fidelity = Fidelity()
    for frame, wanted in zip(frames, expected, strict=True):
        fidelity.add(wanted, run(frame))
    return fidelity.summary("contest", Evidence.HOST)


def _race(results: Sequence[Result], frames: Sequence[NDArray[np.uint8]], rounds: int) -> None:
    order = random.Random(0)
    for number in range(rounds):
        turns = list(results)
        order.shuffle(turns)
        for result in turns:
            result.contender.run(frames[0])
            block = []
            for index in range(BLOCK):
                frame = frames[(number * BLOCK + index) % len(frames)]
                begun = time.perf_counter_ns()
                result.contender.run(frame)
                block.append((time.perf_counter_ns() - begun) / 1e6)
            result.rounds_ms.append(block)


def _print(results: Sequence[Result], calibrated: int, judged: int, size: Size, threads: int) -> None:
    console = Console(width=max(130, Console().width))
    here = host.facts()
    console.print(
        f"{here.cpu}, {threads} threads, {size}, calibrated on {calibrated} frames, judged on {judged}; measured on host"
    )
    shipped = next(result for result in results if result.contender.shipped)
    table = Table(
        "contender", "p50 ms", "p99 ms", "shipped / this", "(range by round)", "patch mean", "patch p01", "cls", box=None
    )
    for result in sorted(results, key=lambda result: result.p50):
        pairs = zip(shipped.rounds_ms, result.rounds_ms, strict=True)
        ratios = [statistics.median(ours) / statistics.median(theirs) for ours, theirs in pairs]
        fidelity = result.fidelity
        table.add_row(
            result.contender.name,
            f"{result.p50:.2f}",
            f"{result.p99:.2f}",
            f"{shipped.p50 / result.p50:.3f}",
            f"{min(ratios):.2f}..{max(ratios):.2f}",
            f"{fidelity.patch_cosine_mean:.6f}",
            f"{fidelity.patch_cosine_p01:.6f}",
            f"{fidelity.cls_cosine_mean:.6f}",
            style="bold" if result is shipped else None,
        )
    console.print(table)
