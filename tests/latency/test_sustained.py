"""Real workers on real runtimes. Nothing here asserts how long anything takes: only what must hold whatever the machine does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest

from edgec.errors import RequestError
from edgec.latency import measure as measuring
from edgec.latency import sustained
from edgec.latency.sustained import after_idle, sustain
from edgec.latency.workload import Workload
from edgec.lowering.base import LoweredModel
from edgec.onboard.worker import WorkerProblem
from edgec.records.consistency import _column_problems, _run_problems
from edgec.records.evidence import Evidence
from edgec.records.report import Run

MakeModel = Callable[..., LoweredModel]
MakeFrames = Callable[..., np.ndarray[Any, np.dtype[np.uint8]]]


def holds(run: Run, batch: int = 1) -> None:
    assert [*_run_problems(run, batch), *_column_problems(run)] == []
    assert run.latency.count + run.dropped == run.arrived
    assert len(run.readings) >= 1
    assert run.readings[-1].rss_bytes or run.peak_rss_bytes
    assert run.evidence is Evidence.HOST


def test_a_camera(make_model: MakeModel, frames: MakeFrames) -> None:
    expected = Workload(seconds=0.4, fps=50, queue="latest", deadline_ms=20)
    run, _ = sustain(make_model("a", "openvino"), frames(), expected, threads=1, evidence=Evidence.HOST)
    holds(run)
    assert (run.mode, run.arrived, run.threads, run.streams) == ("camera", 20, 1, 1)
    assert run.missed is not None
    assert run.wait.max_ms <= run.latency.max_ms


def test_a_rate_beyond_the_model(make_model: MakeModel, frames: MakeFrames) -> None:
    expected = Workload(seconds=0.3, fps=20_000, queue="latest", deadline_ms=0.05)
    run, _ = sustain(make_model("a", width=300), frames(), expected, threads=1, evidence=Evidence.HOST)
    holds(run)
    assert run.arrived == 6000
    assert run.dropped > 0
    assert run.missed is not None
    assert run.missed > run.dropped, "what was done was late, too"


def test_several_streams_at_once(make_model: MakeModel, frames: MakeFrames) -> None:
    run, _ = sustain(make_model("a", batch=2), frames(2, 2), Workload(0.3, streams=2), threads=1, evidence=Evidence.HOST)
    holds(run, 2)
    assert set(run.stream) == {0, 1}
    assert run.mode == "back to back"
    assert (run.missed, run.deadline_ms, run.queue) == (None, None, None)
    assert run.drift is not None
    begun = {stream: run.started_ms[run.stream.index(stream)] for stream in (0, 1)}
    assert min(begun.values()) >= 0
    cameras, _ = sustain(make_model("b"), frames(), Workload(0.2, 2, 25, "all", 40), threads=1, evidence=Evidence.HOST)
    holds(cameras)
    assert cameras.arrived == 10
    assert sorted(cameras.arrived_ms) == pytest.approx([20 * number for number in range(10)], abs=0.01)


def test_after_idle(make_model: MakeModel, frames: MakeFrames) -> None:
    actual = after_idle(make_model("a"), frames(), 0.01, threads=1, evidence=Evidence.HOST)
    assert actual.idle_s == 0.01
    assert len(actual.samples_ms) == 5
    assert min(actual.samples_ms) > 0


def test_more_frames_than_a_report_can_hold(make_model: MakeModel, frames: MakeFrames, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sustained, "MOST_ROWS", 10)
    run, doubts = sustain(make_model("a"), frames(), Workload(0.2), threads=1, evidence=Evidence.HOST)
    holds(run)
    assert run.done_ms == run.stream == ()
    assert run.latency.count > 10
    assert any("not kept" in doubt for doubt in doubts)


def test_streams_that_do_not_fit(make_model: MakeModel, frames: MakeFrames, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_MEMORY_SHARE", 0.0)
    with pytest.raises(RequestError, match="do not fit into the memory"):
        sustain(make_model("a"), frames(), Workload(0.2, streams=2), threads=1, evidence=Evidence.HOST)


def test_a_stream_that_dies_ends_the_run_at_once(make_model: MakeModel, frames: MakeFrames) -> None:
    def kill_one(doing: str, done: int, total: int) -> None:
        if doing.startswith("running") and not timers:
            pid = max(child.pid for child in psutil.Process().children())
            timers.append(threading.Timer(0.05, os.kill, (pid, signal.SIGKILL)))
            timers[-1].start()

    timers: list[threading.Timer] = []
    with pytest.raises(WorkerProblem, match="killed by signal 9"):
        sustain(make_model("a"), frames(), Workload(3600, streams=2), threads=1, evidence=Evidence.HOST, progress=kill_one)
    assert psutil.Process().children() == []


def test_no_worker_is_left(make_model: MakeModel, frames: MakeFrames) -> None:
    def interrupt(doing: str, done: int, total: int) -> None:
        if doing.startswith("running"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sustain(make_model("a"), frames(), Workload(3600, streams=2), threads=1, evidence=Evidence.HOST, progress=interrupt)
    assert psutil.Process().children() == []
