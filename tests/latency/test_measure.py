"""Real workers and real runtimes. Nothing here asserts how long anything takes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from edgec.latency import measure as measuring
from edgec.latency.measure import HEAT, Measurement, groups, measure
from edgec.lowering.base import LoweredModel
from edgec.records.evidence import Evidence

MakeModel = Callable[..., LoweredModel]
MakeFrames = Callable[..., np.ndarray[Any, np.dtype[np.uint8]]]


def succeeded(found: Measurement) -> None:
    assert found.problem == ""
    assert found.latency is not None
    assert found.cold_start is not None


def failed(found: Measurement, *words: str) -> None:
    assert found.latency is None
    assert found.cold_start is None
    for word in words:
        assert word in found.problem


def test_both_runtimes(make_model: MakeModel, frames: MakeFrames) -> None:
    candidates = [make_model("a"), make_model("b", "openvino")]
    measured = measure(candidates, frames(), threads=1, iterations=25, evidence=Evidence.HOST)
    for actual in measured:
        succeeded(actual)
        assert actual.latency is not None
        assert actual.cold_start is not None
        assert actual.latency.iterations == len(actual.latency.samples_ms) == 25
        assert min(actual.latency.samples_ms) == actual.latency.min_ms > 0
        assert max(actual.latency.samples_ms) == actual.latency.max_ms
        assert 5 <= actual.latency.warmup <= 50
        assert actual.latency.threads == 1
        assert actual.latency.evidence is actual.cold_start.evidence is Evidence.HOST
        assert actual.cold_start.load_ms > 0
        assert actual.cold_start.first_inference_ms > 0
        assert actual.cpu_ms_per_frame is not None
        assert actual.cpu_ms_per_frame > 0
        assert actual.import_ms is not None
        assert actual.import_ms > 0
    assert measured[0].execution_precision == "fp32"
    assert "f32" in measured[1].execution_precision


def test_candidates_that_are_out_after_the_first_heat_are_measured_no_further(make_model: MakeModel, frames: MakeFrames) -> None:
    asked: list[dict[int, float]] = []

    def goes_on(medians: dict[int, float]) -> set[int]:
        asked.append(medians)
        return {1}

    candidates = [make_model("a"), make_model("b"), make_model("c")]
    actual = measure(candidates, frames(), threads=1, iterations=45, goes_on=goes_on, evidence=Evidence.HOST)
    assert [each.latency and each.latency.iterations for each in actual] == [HEAT, 45, HEAT]
    assert len(asked) == 1
    assert asked[0].keys() == {0, 1, 2}
    assert all(median > 0 for median in asked[0].values())
    few = measure(candidates[:1], frames(), threads=1, iterations=5, goes_on=goes_on, evidence=Evidence.HOST)
    assert few[0].latency is not None
    assert few[0].latency.iterations == 5


def test_turns_are_interleaved_in_an_order_that_the_seed_gives(make_model: MakeModel, frames: MakeFrames) -> None:
    candidates = [make_model("a"), make_model("b"), make_model("c")]

    def turns(seed: int) -> list[str]:
        told: list[tuple[str, int, int]] = []
        measure(
            candidates,
            frames(),
            threads=1,
            iterations=40,
            seed=seed,
            names=["first", "second", "third"],
            progress=lambda *each: told.append(each),
            evidence=Evidence.HOST,
        )
        done = [count for _, count, _ in told]
        assert done == sorted(done)
        assert told[-1] == ("measured", 120, 120)
        return [doing.removeprefix("measuring ") for doing, _, _ in told if doing.startswith("measuring ")]

    taken = turns(0)
    assert set(taken) == {"first", "second", "third"}
    rounds = [taken[start : start + 3] for start in range(0, len(taken), 3)]
    assert len(rounds) == 4
    assert all(sorted(each) == sorted(set(taken)) for each in rounds)
    assert any(each != rounds[0] for each in rounds)
    assert turns(0) == taken


def test_cpu_time_is_per_frame_of_a_batch(make_model: MakeModel, frames: MakeFrames) -> None:
    (actual,) = measure([make_model("a", batch=4)], frames(2, 4), threads=1, iterations=20, evidence=Evidence.HOST)
    succeeded(actual)
    assert actual.latency is not None
    assert actual.cpu_ms_per_frame is not None
    # One thread cannot use more CPU than time passed; a quarter of a batch of four is far below the batch itself.
    assert actual.cpu_ms_per_frame < 0.6 * actual.latency.mean_ms


def test_other_work_on_the_machine_is_noticed(make_model: MakeModel, frames: MakeFrames) -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            (actual,) = measure([make_model("a", width=600)], frames(), threads=1, iterations=40, evidence=Evidence.HOST)
        finally:
            busy.kill()
    assert actual.other_cores is not None
    assert actual.other_cores > 0.2


def test_slow_models_get_fewer_iterations(make_model: MakeModel, frames: MakeFrames) -> None:
    (actual,) = measure([make_model("a")], frames(), threads=1, iterations=100, max_seconds=0, evidence=Evidence.HOST)
    assert actual.latency is not None
    assert actual.latency.iterations == len(actual.latency.samples_ms) == 20


def test_a_refused_model_harms_no_other(make_model: MakeModel, frames: MakeFrames) -> None:
    broken = make_model("broken")
    (broken.directory / broken.entry).write_bytes(b"not a model")
    unknown = LoweredModel("no-such-runtime", broken.directory, broken.entry, broken.files)
    good = make_model("good")
    measured = measure([broken, good, unknown], frames(), threads=1, iterations=20, evidence=Evidence.HOST)
    failed(measured[0], "ONNX Runtime refuses the model.")
    succeeded(measured[1])
    failed(measured[2], "no lowering named 'no-such-runtime'")


def test_frames_that_do_not_fit(make_model: MakeModel) -> None:
    wrong = np.zeros((2, 1, 8, 8, 3), dtype=np.uint8)
    (actual,) = measure([make_model("a")], wrong, threads=1, iterations=20, evidence=Evidence.HOST)
    failed(actual, "[1, 8, 8, 3]")


@pytest.mark.parametrize(
    ("number", "words"), [(signal.SIGKILL, "killed by signal 9 (SIGKILL"), (signal.SIGSEGV, "signal 11 (SIGSEGV)")]
)
def test_a_worker_that_dies_between_runs(make_model: MakeModel, frames: MakeFrames, number: int, words: str) -> None:
    def kill_the_first(doing: str, done: int, total: int) -> None:
        if doing == "measuring onnxruntime victim" and done > 0:
            os.kill(min(child.pid for child in psutil.Process().children()), number)

    measured = measure(
        [make_model("victim"), make_model("other")],
        frames(),
        threads=1,
        iterations=40,
        progress=kill_the_first,
        evidence=Evidence.HOST,
    )
    failed(measured[0], words)
    succeeded(measured[1])


def test_a_worker_that_is_killed_in_the_middle_of_a_run(make_model: MakeModel, frames: MakeFrames) -> None:
    # A block of this one takes about a second: a tenth of that after its beginning is in the middle of it.
    victim = make_model("victim", width=1500)
    timers = []

    def kill_the_first(doing: str, done: int, total: int) -> None:
        if doing == "measuring onnxruntime victim":
            pid = min(child.pid for child in psutil.Process().children())
            timers.append(threading.Timer(0.1, os.kill, (pid, signal.SIGKILL)))
            timers[-1].start()

    measured = measure(
        [victim, make_model("other")],
        frames(),
        threads=1,
        iterations=20,
        progress=kill_the_first,
        evidence=Evidence.HOST,
    )
    assert len(timers) == 1
    failed(measured[0], "killed by signal 9")
    succeeded(measured[1])


def test_no_worker_is_left(make_model: MakeModel, frames: MakeFrames) -> None:
    def interrupt(doing: str, done: int, total: int) -> None:
        if done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure([make_model("a"), make_model("b")], frames(), threads=1, progress=interrupt, evidence=Evidence.HOST)
    assert psutil.Process().children() == []


def test_memory_is_the_workers_own(make_model: MakeModel, frames: MakeFrames) -> None:
    ours = np.ones(60_000_000)
    (actual,) = measure([make_model("a")], frames(), threads=1, iterations=20, evidence=Evidence.HOST)
    assert actual.cold_start is not None
    assert 20_000_000 < actual.cold_start.peak_rss_bytes < ours.nbytes


def test_candidates_that_do_not_fit_into_memory_together_are_measured_apart(
    make_model: MakeModel, frames: MakeFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_MEMORY_SHARE", 0.0)
    told: list[str] = []
    candidates = [make_model("a"), make_model("b", "openvino")]
    measured = measure(
        candidates, frames(), threads=1, iterations=20, progress=lambda *each: told.append(each[0]), evidence=Evidence.HOST
    )
    for actual in measured:
        succeeded(actual)
    assert measured[0].execution_precision == "fp32"
    assert told.index("loading openvino b") > max(index for index, doing in enumerate(told) if doing.endswith("onnxruntime a"))


def test_groups() -> None:
    megabyte = 1 << 20
    sizes = [100 * megabyte, 100 * megabyte, 400 * megabyte, 10 * megabyte]
    assert groups(sizes, 10_000 * megabyte) == [[0, 1, 2, 3]]
    assert groups(sizes, 1200 * megabyte) == [[0, 1], [2], [3]]
    assert groups(sizes, 0) == [[0], [1], [2], [3]]
    assert groups([], megabyte) == []


def test_scratch_files_are_removed(
    make_model: MakeModel, frames: MakeFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    measure([make_model("a")], frames(), threads=1, iterations=20, evidence=Evidence.HOST)
    assert list(scratch.iterdir()) == []
