"""Several real processes of one model, one after another, and the yardstick beside them."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from edgec.latency import series
from edgec.latency.recording import Measurement
from edgec.latency.series import PROCESSES, by_process, measure_series, processes
from edgec.latency.yardstick import WORK
from edgec.lowering.base import LoweredModel
from edgec.records.evidence import Evidence
from edgec.records.report import CandidateFigures

Frames = np.ndarray[Any, np.dtype[np.uint8]]
MakeModel = Callable[..., LoweredModel]
MakeFrames = Callable[..., Frames]


def taken(
    model: LoweredModel, frames: np.ndarray[Any, np.dtype[np.uint8]], **changes: Any
) -> tuple[Measurement, CandidateFigures | None]:
    settings: dict[str, Any] = {"threads": 1, "iterations": 30, "max_seconds": math.inf, "evidence": Evidence.HOST, **changes}
    return measure_series(model, frames, **settings)


def test_processes_share_the_runs_and_the_yardstick_takes_turns(make_model: MakeModel, frames: MakeFrames) -> None:
    told: list[tuple[str, int, int]] = []
    alive: list[int] = []

    def tell(*each: Any) -> None:
        told.append(each)
        alive.append(len(psutil.Process().children()))

    actual, stick = taken(make_model("a"), frames(), iterations=53, progress=tell)
    assert actual.problem == ""
    assert actual.latency is not None
    assert actual.cold_start is not None
    assert actual.latency.iterations == len(actual.latency.samples_ms) == 53
    by_number: dict[int, int] = {}
    for block in actual.latency.blocks:
        by_number[block.process] = by_number.get(block.process, 0) + block.runs
    assert by_number == {0: 11, 1: 11, 2: 10, 3: 11, 4: 10}
    assert len(by_process(actual)) == PROCESSES
    assert actual.latency.warmup >= PROCESSES * 5
    assert actual.cold_start.process_ms is not None
    assert actual.cold_start.process_ms > actual.cold_start.load_ms > 0
    assert stick is not None
    assert stick.latency is not None
    assert [block.round for block in stick.latency.blocks] == [block.round for block in actual.latency.blocks]
    assert sorted(set(by_number)) == sorted({block.process for block in actual.latency.blocks})
    assert len(actual.latency.blocks) >= 3 * PROCESSES
    assert (stick.latency.flags, stick.chosen, stick.latency.threads) == ((WORK,), False, 1)
    assert min(stick.latency.samples_ms) > 0
    assert told[-1] == ("measured", 53, 53)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert max(alive) <= 2  # the yardstick and one process
    assert psutil.Process().children() == []


def test_slow_models_get_fewer_runs_but_several_processes(make_model: MakeModel, frames: MakeFrames) -> None:
    actual, _ = taken(make_model("a"), frames(), iterations=100, max_seconds=0)
    assert actual.latency is not None
    assert actual.latency.iterations == 20
    assert len(by_process(actual)) == PROCESSES


@pytest.mark.parametrize(
    ("iterations", "beginning_ms", "count"),
    [(100, 0, 5), (100, 1500, 5), (100, 3000, 3), (100, 60_000, 2), (12, 500, 2), (9, 0, 1), (1, 0, 1)],
)
def test_how_many_processes(iterations: int, beginning_ms: float, count: int) -> None:
    assert processes(iterations, beginning_ms) == count


def test_processes_that_take_long_to_begin_are_fewer(
    make_model: MakeModel, frames: MakeFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "BEGINNING_MS", 1.0)
    actual, _ = taken(make_model("a"), frames())
    assert len(by_process(actual)) == 2


def test_a_refused_model(make_model: MakeModel, frames: MakeFrames) -> None:
    broken = make_model("broken")
    (broken.directory / broken.entry).write_bytes(b"not a model")
    actual, _ = taken(broken, frames())
    assert actual.latency is None
    assert "ONNX Runtime refuses the model." in actual.problem


def test_a_process_that_dies_ends_it(make_model: MakeModel, frames: MakeFrames) -> None:
    def kill_the_second(doing: str, done: int, total: int) -> None:
        if doing == "process 2 of 5: measuring":
            os.kill(max(child.pid for child in psutil.Process().children()), signal.SIGKILL)

    actual, _ = taken(make_model("a"), frames(), progress=kill_the_second)
    assert actual.latency is None
    assert "killed by signal 9" in actual.problem


def test_without_the_yardstick_the_figures_stand(make_model: MakeModel, frames: MakeFrames) -> None:
    def kill_it(doing: str, done: int, total: int) -> None:
        if doing == "process 2 of 5: measuring" and done == 6:
            os.kill(min(child.pid for child in psutil.Process().children()), signal.SIGKILL)

    actual, stick = taken(make_model("a"), frames(), progress=kill_it)
    assert actual.problem == ""
    assert actual.latency is not None
    assert actual.latency.iterations == 30
    assert stick is None


def test_interrupted_it_leaves_nothing(
    make_model: MakeModel, frames: MakeFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))

    def interrupt(doing: str, done: int, total: int) -> None:
        if done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taken(make_model("a"), frames(), progress=interrupt)
    assert psutil.Process().children() == []
    assert list(scratch.iterdir()) == []
