"""The program on a machine with a GPU, from the artefact to an active engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgec.building import BuildResult
from edgec.records.evidence import Evidence
from tests.device.robot import Robot, check_whole


def test_the_engine_of_the_build_is_verified_measured_and_activated(machine: Robot, built: BuildResult) -> None:
    done = machine.run("run-all")
    assert done.code == 0, done
    assert machine.current is not None
    check_whole(machine)
    active = machine.home / "engines" / machine.current / "engine.plan"
    assert active.read_bytes() == (built.directory / "model" / "fp16.engine").read_bytes(), "what was compiled by the build"

    report = machine.report()
    assert report.chosen == "fp16"
    assert report.target == "rtx"
    assert report.host.cpu == "edgec stand-in GPU, Some CPU 9000"
    notes = " ".join(report.notes)
    assert "TensorRT-RTX 1.7.1.116 on edgec stand-in GPU, compute capability 8.9" in notes
    assert "NVIDIA's driver takes CUDA 12.9" in notes
    assert "JetPack" not in notes
    assert report.host.versions["tensorrt"] == "RTX 1.7.1.116"
    assert "were not recorded" in notes
    (candidate,) = report.candidates
    assert candidate.latency is not None
    assert candidate.fidelity is not None
    assert candidate.fidelity.patch_cosine_p01 > 0.99
    assert {candidate.latency.evidence, candidate.fidelity.evidence} == {Evidence.SIMULATED}
    for path in machine.home.rglob("*.json"):
        assert Evidence.TARGET.value not in path.read_text(), path
    shown = {event["name"] for event in done.of("fact") if event.get("text")}
    assert {"tensorrt_rtx_bindings", "gpu", "compute_capability"} <= shown
    assert not {"jetpack", "l4t", "power_mode"} & shown

    again = machine.run("run-all")
    assert {event["result"] for event in again.of("done")} <= {"ready", "unchanged"}
    status = machine.run("status")
    assert status.of("status")[0]["state"] == "verified"


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"STANDIN_RTX": "1.8.0.5"}, ""), ({"faults": "no-load"}, "the engine of edgec build does not load")],
    ids=["other-version", "refused"],
)
def test_a_graph_is_compiled_there_if_its_engine_does_not_fit(machine: Robot, settings: dict[str, str], words: str) -> None:
    done = machine.run("run-all", **settings)
    assert done.code == 0, done
    assert machine.current is not None
    plan = (machine.home / "engines" / machine.current / "engine.plan").read_bytes()
    assert b"stand-in" in plan[:100], "it was built on the machine"
    assert any(words in event["line"] for event in done.of("log")) or not words


def test_another_gpu_is_refused_and_with_here_it_will_do(machine: Robot) -> None:
    """TensorRT-RTX does not know it, so that TensorRT is used."""
    refused = machine.run("run-all", STANDIN_COMPUTE="9.0")
    assert refused.code == 5
    assert "RTX GPUs of the Ada generation (8.9)" in refused.error["what"]
    done = machine.run("run-all", "--here", STANDIN_COMPUTE="9.0")
    assert done.code == 0, done
    assert "TensorRT 10.13.3.9 on edgec stand-in GPU" in " ".join(machine.report().notes)


def test_what_is_missing_is_named(machine: Robot, tmp_path: Path) -> None:
    none = machine.run("run-all", STANDIN_NO_GPU="1")
    assert none.code == 12
    assert "no CUDA-capable device is detected" in " ".join(none.error["evidence"])
    assert "nvidia-smi" in none.error["remedy"]
    bare = tmp_path / "python3"
    bare.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    missing = machine.run("run-all", "--python", bare)
    assert missing.code == 12
    assert "tensorrt-rtx-cu12-bindings==1.7.1.116" in missing.error["remedy"]
    assert machine.run("run-all", "--python", tmp_path / "none").code == 2


@pytest.mark.parametrize(
    ("fault", "code", "words"), [("garbage", 9, "must be at least"), ("crash", 10, "SIGABRT"), ("hang", 13, "")]
)
def test_nothing_wrong_is_activated(machine: Robot, fault: str, code: int, words: str) -> None:
    patience = ["--patience", "3"] if fault == "hang" else []
    done = machine.run("run-all", *patience, faults=fault)
    assert done.code == code, done
    assert words in " ".join(done.error["evidence"])
    assert machine.current is None


def test_kernels_are_launched_one_by_one_where_no_graph_can_be_captured(machine: Robot) -> None:
    assert machine.run("run-all", faults="no-capture").code == 0
    assert "could not be captured as a CUDA graph" in " ".join(machine.report().notes)


def test_the_archive_runs_from_the_artefact(machine: Robot, built: BuildResult) -> None:
    archive = built.directory / "device" / "edgec-rtx.pyz"
    command = [sys.executable, "-W", "error", str(archive), "preflight", "--json", "--dir", str(machine.root)]
    done = subprocess.run(command, env={**os.environ, **machine.environment()}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["exit_code"] == 0
    helped = subprocess.run(
        [sys.executable, str(archive), "run-all", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "--python PATH" in helped
    assert "trtexec" not in helped
