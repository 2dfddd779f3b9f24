"""The program for CPUs by itself, with real models of both runtimes: from the artefact to an active model."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgec.building import BuildResult
from edgec.onboard.cgroup import available_cores
from edgec.records.evidence import Evidence
from tests.cpu_device.machines import FLAG, check_whole, inodes, python_with, write_facts
from tests.device.robot import Robot
from tests.support.forging import repair

ORT = "onnxruntime-fp32"


def test_the_fastest_that_passes_is_active(machine: Robot, foreign: BuildResult, lived_in_root: Path) -> None:
    shutil.copytree(lived_in_root, machine.root, symlinks=True)
    check_whole(machine)
    report = machine.report()
    names = {candidate.name for candidate in report.candidates}
    assert names == {candidate.name for candidate in foreign.report.candidates if not candidate.problem}
    assert {candidate.runtime for candidate in report.candidates} == {"openvino", "onnxruntime"}
    medians = {candidate.name: candidate.latency.p50_ms for candidate in report.candidates if candidate.latency is not None}
    assert medians.keys() == names
    assert report.chosen == min(medians, key=medians.__getitem__)
    assert f"{medians[report.chosen]:.3f} ms" in report.reason
    assert machine.current is not None
    assert machine.current.startswith(report.chosen)
    for candidate in report.candidates:
        assert candidate.fidelity is not None
        assert candidate.fidelity.patch_cosine_p01 is not None
        assert candidate.fidelity.patch_cosine_p01 > 0.99
        assert candidate.latency is not None
        assert candidate.latency.threads == available_cores()
        assert candidate.latency.other_cores is not None
        assert {candidate.latency.evidence, candidate.fidelity.evidence} == {Evidence.SIMULATED}, "its facts are a test's"
    assert "undecided" in foreign.report.reason
    notes = " ".join(report.notes)
    assert "CPU clock in MHz: 2400 before" in notes
    assert "cpu-thermal 48.3 to 48.3" in notes
    assert "throttled" not in notes

    again = machine.run("run-all")
    assert {event["result"] for event in again.of("done")} <= {"ready", "unchanged"}, again
    (status,) = machine.run("status").of("status")
    assert status["state"] == "verified"


def test_equal_files_are_on_the_disk_once(foreign: BuildResult, lived_in_root: Path) -> None:
    """OpenVINO's float32 and bfloat16 are one model with another setting."""
    (home,) = (path for path in lived_in_root.iterdir() if (path / "releases").is_dir())
    (release,) = (home / "releases").iterdir()
    equal = {"variants/openvino-bf16/model.bin", "variants/openvino-fp32/model.bin", "model/model.bin"}
    for folder in (foreign.directory, release):
        present = sorted(path for path in equal if (folder / path).is_file())
        if len(present) < 2:
            pytest.skip("this CPU has no bfloat16")
        assert present in [[name for name in names if name in equal] for names in inodes(folder).values()], folder


def garbage(bundle: Path, variant: str) -> None:
    """Its weights are turned round, and whoever did it knows about hashes."""
    entry = next(
        each for each in json.loads((bundle / "device" / "bundle.json").read_text())["variants"] if each["name"] == variant
    )
    path = bundle / next(path for path in (entry["path"], *entry["others"]) if path.endswith((".bin", ".onnx")))
    content = bytearray(path.read_bytes())
    if path.suffix == ".onnx":
        import onnx
        from onnx import numpy_helper

        model = onnx.load_from_string(bytes(content))
        weights = max(model.graph.initializer, key=lambda each: len(each.raw_data))
        turned = numpy_helper.to_array(weights)[..., ::-1].copy()
        weights.CopyFrom(numpy_helper.from_array(turned, weights.name))
        content = bytearray(model.SerializeToString())
    else:
        values = np.frombuffer(content, np.float32).copy()
        real = (np.abs(values) < 10) & (np.abs(values) > 1e-6)
        values[real] = np.roll(values[real], 7)
        content = bytearray(values.tobytes())
    path.unlink()  # others may share what is on the disk
    path.write_bytes(content)
    repair(bundle)


def test_garbage_is_never_active(machine: Robot, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(machine.bundle, tmp_path / "own.edgec"))
    machine.bundle = bundle
    garbage(bundle, ORT)
    done = machine.run("run-all", "--variant", ORT, "--variant", "openvino-fp32")
    assert done.code == 0, done
    assert machine.current is not None
    assert machine.current.startswith("openvino-fp32")
    (bad,) = (candidate for candidate in machine.report().candidates if candidate.name == ORT)
    assert bad.latency is None
    assert "does not reproduce" in bad.problem
    assert machine.run("activate", "--variant", ORT).code == 14
    check_whole(machine)
    alone = machine.run("run-all", "--variant", ORT)
    assert alone.code == 9, alone
    assert "openvino-fp32" in alone.error["what"], "what is active stays active"
    assert "must be at least" in " ".join(alone.error["evidence"])


def test_another_cpu_is_refused(machine: Robot, tmp_path: Path) -> None:
    machine.facts = write_facts(tmp_path / "old", "fpu")
    refused = machine.run("run-all")
    assert refused.code == 5
    assert f"this CPU lacks {FLAG}" in " ".join(refused.error["evidence"])
    assert machine.current is None


def test_a_machine_without_a_runtime(machine: Robot, bare: str) -> None:
    missing = machine.run("run-all", "--python", bare)
    assert missing.code == 12
    assert "edgec deploy" in missing.error["remedy"]
    assert "pip install" in missing.error["remedy"]
    assert "onnxruntime==" in missing.error["remedy"]
    (answer,) = machine.run("look", "--python", bare).of("machine")
    assert (answer["runtimes"], answer["missing"]) == ({}, ["onnxruntime", "openvino"])
    assert machine.run("run-all", "--python", bare + "-none").code == 2


UNWILLING = {
    "raises": ("raise RuntimeError('no licence')", "no licence"),
    "crashes": ("import os; os.abort()", "SIGABRT"),
    "hangs": ("import time; time.sleep(60)", "hung"),
}


@pytest.mark.parametrize(("source", "words"), UNWILLING.values(), ids=UNWILLING.keys())
def test_a_runtime_that_does_not_start_is_left_out(machine: Robot, tmp_path: Path, source: str, words: str) -> None:
    (tmp_path / "packages" / "openvino").mkdir(parents=True)
    (tmp_path / "packages" / "openvino" / "__init__.py").write_text(source + "\n")
    python = python_with(tmp_path, sys.executable, tmp_path / "packages")
    patience = ["--patience", "10"] if words == "hung" else []
    if words == "no licence":
        done = machine.run("run-all", "--python", python, *patience)
        assert machine.current is not None
        assert machine.current.startswith(ORT)
        notes = " ".join(machine.report().notes)
        assert f"openvino-fp32 is left out: it needs OpenVINO (RuntimeError: {words}" in notes
    else:
        done = machine.run("preflight", "--python", python, *patience)
    assert done.code == 0, done
    (line,) = (event["line"] for event in done.of("log") if "cannot be used" in event["line"])
    assert "OpenVINO cannot be used, and its models are left out" in line
    assert words in line


def test_killed_after_every_step_it_goes_on(machine: Robot) -> None:
    """After each kill nothing is half there; in the end a model is active, and nothing is left lying about."""
    killed = 0
    for number in range(4, 30, 3):
        process = machine.start("run-all", "--variant", ORT, "--json")
        assert process.stdout is not None
        steps = 0
        for line in process.stdout:
            steps += json.loads(line)["event"] in ("done", "step", "measured")
            if steps == number:
                process.send_signal(signal.SIGKILL)
                break
        process.communicate()
        check_whole(machine)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        killed += 1
    assert killed > 2
    assert process.returncode == 0
    assert machine.current is not None
    assert list(machine.home.rglob(".*")) == []


def test_a_full_disk_keeps_what_is_active(active: Robot, tmp_path: Path) -> None:
    """Of files that may not grow: the system refuses in the middle of copying."""
    before = active.current
    (release,) = (active.home / "releases").iterdir()
    shutil.rmtree(release)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    command = active.command("run-all", "--json")
    done = subprocess.run(command, env=active.environment(), capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 11, done.stdout
    (error,) = (event for event in map(json.loads, done.stdout.splitlines()) if event["event"] == "error")
    assert "no room left" in error["what"]
    assert active.current == before
    check_whole(active)
    assert active.run("install").code == 0


def test_too_little_room_is_noticed_before_anything_is_written(machine: Robot, small_disk: Path) -> None:
    machine.root = small_disk / "root"
    (small_disk / "filler").write_bytes(b"\0" * (70 << 20))
    done = machine.run("run-all")
    assert done.code == 11
    assert "--dir" in done.error["remedy"]
    assert not machine.home.exists()


def test_a_model_that_is_gone_is_noticed_and_mended(active: Robot) -> None:
    """test_deploy.py has one that lost a bit."""
    assert active.current is not None
    folder = active.home / "engines" / active.current
    max((path for path in folder.iterdir() if path.suffix != ".json"), key=lambda path: path.stat().st_size).unlink()
    (status,) = active.run("status").of("status")
    assert status["state"] == "changed"
    assert "CHANGED since it was verified" in status["text"]
    refused = active.run("bench")
    assert refused.code == 8
    assert refused.error["kind"] == "EngineChanged"
    variant = active.current.rpartition("-")[0]
    mended = active.run("run-all", "--variant", variant)
    assert mended.code == 0, mended
    check_whole(active)
    (status,) = active.run("status").of("status")
    assert status["state"] == "verified"


def test_rollback(active: Robot) -> None:
    first = active.current
    other = next(path.name for path in (active.home / "engines").iterdir() if path.name != first)
    assert active.run("rollback").code == 14
    assert active.run("activate", "--variant", other.rpartition("-")[0]).code == 0
    assert active.current == other
    assert active.run("rollback").code == 0
    assert active.current == first
    check_whole(active)


def test_the_archive_runs_from_the_artefact(foreign: BuildResult, facts: Path, tmp_path: Path) -> None:
    archive = foreign.directory / "device" / "edgec-cpu.pyz"
    command = [sys.executable, "-W", "error", str(archive), "preflight", "--json", "--dir", str(tmp_path / "root")]
    env = {**os.environ, "EDGEC_FACTS_ROOT": str(facts)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["exit_code"] == 0
    helped = subprocess.run(
        [sys.executable, str(archive), "run-all", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "--python PATH" in helped
