"""The worker as a process: what it imports, whom it answers, and when it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from edgec.latency.process import Worker
from edgec.lowering.base import LoweredModel
from edgec.onboard.worker import WorkerProblem, describe_exit

MakeModel = Callable[..., LoweredModel]
MakeFrames = Callable[..., np.ndarray[Any, np.dtype[np.uint8]]]

MEASURE_FOR_EVER = """
    import sys
    from pathlib import Path
    import numpy as np, psutil
    from edgec.records.evidence import Evidence
    from edgec.latency.measure import measure
    from edgec.lowering.base import LoweredModel

    model = LoweredModel("onnxruntime", Path(sys.argv[1]), "model.onnx", ("model.onnx",), {"precision": "fp32"})

    def tell(doing, done, total):
        if doing.startswith(sys.argv[2]):
            print(*(child.pid for child in psutil.Process().children()), flush=True)

    frames = np.zeros((1, 1, 32, 32, 3), dtype=np.uint8)
    measure([model, model], frames, threads=1, iterations=10**9, max_seconds=1e9, progress=tell, evidence=Evidence.HOST)
"""


def gone(pid: int) -> bool:
    """Ended, whether or not whoever adopted it has noticed."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() < deadline, f"workers {pids} live on"
        time.sleep(0.05)


@pytest.fixture
def frames_file(tmp_path: Path, frames: MakeFrames) -> Path:
    np.save(tmp_path / "frames.npy", frames())
    return tmp_path / "frames.npy"


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_only_numpy_and_the_runtime_are_imported(make_model: MakeModel, frames_file: Path, runtime: str) -> None:
    model = make_model("a", runtime)
    load = {
        "do": "load",
        "model": {
            "runtime": runtime,
            "directory": str(model.directory),
            "entry": model.entry,
            "files": list(model.files),
            "settings": model.settings,
        },
        "frames": str(frames_file),
        "threads": 1,
    }
    commands = [load, {"do": "warm"}, {"do": "run", "iterations": 2}, {"do": "finish"}]
    listing = "import sys; from edgec.latency import worker; worker.main(); print('MODULES', *sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", listing],
        input="".join(f"{json.dumps(command)}\n" for command in commands),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded, warmed, ran, finished = map(json.loads, done.stdout.splitlines())
    assert loaded["threads"] == 1
    assert len(warmed["runs_ms"]) >= 5
    assert len(ran["samples_ms"]) == 2
    assert finished["peak_rss_bytes"] > 0
    modules = next(line for line in done.stderr.splitlines() if line.startswith("MODULES")).split()
    assert {runtime, "numpy"} <= set(modules)
    heavy = {"torch", "onnx", "pydantic", "psutil", "rich", "click", "PIL", "openvino", "onnxruntime"} - {runtime}
    assert not heavy & set(modules)


def test_what_a_runtime_prints_does_not_reach_the_answers() -> None:
    program = """
        import os
        from edgec.latency.worker import private_output
        answers = private_output()
        print("printed by Python", flush=True)
        os.write(1, b"printed by C")
        print("the answer", file=answers, flush=True)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert done.stdout == "the answer\n"
    assert "printed by Python" in done.stderr
    assert "printed by C" in done.stderr


def test_a_worker_that_says_nothing_is_given_up(make_model: MakeModel, frames_file: Path, tmp_path: Path) -> None:
    with Worker(make_model("a"), "a", tmp_path) as worker:
        worker.load(frames_file, 1)
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(WorkerProblem, match="no answer within 0 s"):
            worker.ask({"do": "warm"}, seconds=0.2)
    assert gone(worker.pid)


def test_the_end_of_standard_error_is_part_of_the_problem(make_model: MakeModel, frames_file: Path, tmp_path: Path) -> None:
    with Worker(make_model("a"), "a", tmp_path) as worker:
        worker.load(frames_file, 1)
        with pytest.raises(WorkerProblem, match="ended with exit code 1") as caught:
            worker.ask({"not a": "command"})
        assert "KeyError: 'do'" in str(caught.value)


def test_a_worker_starts_where_no_file_can_pass_for_a_module(
    make_model: MakeModel, frames_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "onnxruntime.py").write_text("raise SystemExit('the wrong module')")
    (tmp_path / "scratch").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with Worker(make_model("a"), "a", tmp_path / "scratch") as worker:
        assert worker.load(frames_file, 1)["threads"] == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-6, "killed by signal 6 (SIGABRT)"),
        (-9, "killed by signal 9 (SIGKILL; out of memory is the usual reason)"),
        (-11, "killed by signal 11 (SIGSEGV)"),
        (-250, "killed by signal 250 (unknown)"),
    ],
)
def test_ends_in_words(code: int, words: str) -> None:
    assert words in describe_exit(code)


@pytest.mark.parametrize("when", ["warming up", "measuring"])
def test_workers_die_with_their_parent(make_model: MakeModel, when: str) -> None:
    model = make_model("a", width=600)
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(MEASURE_FOR_EVER), str(model.directory), when], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent, parent.stdout:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    wait_until_gone(pids)


def test_ctrl_c_ends_workers_and_parent(make_model: MakeModel) -> None:
    model = make_model("a", width=600)
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(MEASURE_FOR_EVER), str(model.directory), "measuring"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that runs the tests in the background has them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert parent.stdout is not None
    assert parent.stderr is not None
    with parent, parent.stdout, parent.stderr:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        os.killpg(parent.pid, signal.SIGINT)
        assert "KeyboardInterrupt" in parent.stderr.read()
        assert parent.wait(timeout=20) == -signal.SIGINT
    wait_until_gone(pids)
