"""Whole runs on a Mac that is none: what is verified, measured, activated and refused."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from edgec.backends.apple.program import MAC_PROGRAM
from edgec.cli import run as edgec
from edgec.durable import sha256_of
from edgec.records.evidence import Evidence
from edgec.records.fidelity import Classes, Masks
from edgec.records.manifest import MANIFEST
from tests.apple_device.mac import ENVIRONMENT, STANDIN, UNITS, candidates, only, write_facts
from tests.device.robot import Result, Robot

_PACKAGE = "w8.mlpackage"


@pytest.fixture(scope="module")
def whole(artefact: Path, facts: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Robot, str]:
    """The archive itself, with nothing wrong; and what people saw. Not to be changed."""
    root = tmp_path_factory.mktemp("whole") / "root"
    mac = Robot(artefact, facts, root, program=artefact / MAC_PROGRAM, env=dict(ENVIRONMENT))
    code, out, err = mac.say("run-all")
    assert code == 0, (out, err)
    return mac, out


def test_every_compute_unit_is_judged_and_measured(whole: tuple[Robot, str]) -> None:
    mac, _ = whole
    report, tried = mac.report(), candidates(mac)
    assert tuple(tried) == UNITS
    assert report.artefact_sha256 == sha256_of(mac.bundle / MANIFEST)
    assert report.input_shape == (1, 64, 96, 3)
    assert report.host.cpu == "Apple M4 Pro"
    assert report.host.os == "macOS 15.4.1 (24E263)"
    assert report.host.memory_bytes == 25769803776
    assert report.host.virtual_machine is False
    for name, candidate in tried.items():
        assert (candidate.name, candidate.runtime, candidate.precision) == (f"w8-{name}", "coreml", "w8")
        assert not candidate.problem
        assert candidate.fidelity is not None
        assert candidate.fidelity.patch_cosine_p01 is not None
        assert candidate.fidelity.patch_cosine_p01 > 0.98
        assert candidate.latency is not None
        assert len(candidate.latency.samples_ms) == sum(block.runs for block in candidate.latency.blocks) >= 20
        assert candidate.latency.warmup >= 5
        assert candidate.latency.power_mode == "AC Power"
        assert candidate.cpu_ms_per_frame is not None
        assert candidate.cold_start is not None
        assert candidate.cold_start.process_ms is not None
        assert candidate.cold_start.import_ms is not None
        assert candidate.cold_start.process_ms > candidate.cold_start.load_ms + candidate.cold_start.first_inference_ms
    rounds = [[block.round for block in each.latency.blocks] for each in tried.values() if each.latency]
    assert rounds == [[0, 1]] * 4
    medians = {each.name: each.latency.p50_ms for each in tried.values() if each.latency}
    assert report.chosen == min(medians, key=lambda name: medians[name])


def test_the_package_that_won_is_active_and_its_unit_on_record(whole: tuple[Robot, str]) -> None:
    """What a robot's program reads: the package, what Core ML compiled of it, and which compute units to ask for."""
    mac, said = whole
    chosen, current = mac.report().chosen, mac.home / "current"
    engine = json.loads((current / "engine.json").read_text())
    assert f"w8-{engine['units']}" == chosen == engine["variant"]
    package = mac.bundle / "model" / _PACKAGE
    for path in package.rglob("*"):
        if path.is_file():
            assert (current / _PACKAGE / path.relative_to(package)).read_bytes() == path.read_bytes()
    assert (current / "w8.mlmodelc").is_dir()
    (activation,) = json.loads((mac.home / "history.json").read_text())["activations"]
    assert activation["units"] == engine["units"]
    assert f"load {current / _PACKAGE}" in " ".join(said.split())


def test_fidelity_is_what_the_build_found_of_the_golden_frames(whole: tuple[Robot, str]) -> None:
    """The stand-in runs the package as edgec does, so that the whole way of pixels and features must change nothing."""
    mac, _ = whole
    assert all("1.000000" in note for note in mac.report().notes if "what edgec's evaluator computed" in note)
    assert sum("what edgec's evaluator computed" in note for note in mac.report().notes) == 4


def test_heads_decisions_are_reported_and_compared(whole: tuple[Robot, str]) -> None:
    mac, said = whole
    report = mac.report()
    assert [(head.name, head.output) for head in report.heads] == [("floor", "labels"), ("kind", "scores")]
    for name, candidate in candidates(mac).items():
        assert candidate.fidelity is not None
        masks, classes = (task.masks or task.classes for task in candidate.fidelity.tasks)
        assert isinstance(masks, Masks)
        assert 0.9 < masks.mean_iou < 1
        assert len(masks.iou) == 3
        assert isinstance(classes, Classes)
        assert classes.agreement == 1
        assert any(
            f"{name}: share of labels that agree with edgec's evaluator" in note and "100.0000%" in note for note in report.notes
        )
    assert said.count("kind agrees 100.0%") == 8  # by `verify`, and in the table


def test_other_labels_are_refused(mac: Robot) -> None:
    """A sixth of the pixels, of features that are right; and labels of another type."""
    done = mac.run("run-all", *only("cpuOnly", "all"), faults="labels@CPU_ONLY,float@ALL")
    assert done.code == 9, done
    said = " ".join(done.error["evidence"])
    assert re.search(r"w8-cpuOnly: frame \d: floor has \d\d\.\d\d% of the expected labels, and must have at least 99\.00%", said)
    assert "w8-all: floor is float32, not int32" in said


def test_the_placement_of_operations_is_reported(whole: tuple[Robot, str]) -> None:
    mac, said = whole
    placement = candidates(mac)["cpuAndNeuralEngine"].placement
    assert placement is not None
    assert placement.asked == "cpuAndNeuralEngine"
    assert set(placement.by_device) == {"neural engine", "cpu"}
    assert placement.by_device["neural engine"] > 50
    assert {(each.kind, each.device) for each in placement.fallen} == {("cast", "cpu")}
    assert len(placement.fallen) == placement.by_device["cpu"]
    total = sum(placement.by_device.values())
    assert f"{placement.by_device['neural engine']} of {total} operations on the neural engine" in " ".join(said.split())
    cpu = candidates(mac)["cpuOnly"].placement
    assert cpu is not None
    assert cpu.by_device == {"cpu": total}
    assert not cpu.fallen


def test_figures_of_a_stand_in_are_not_called_measured(whole: tuple[Robot, str]) -> None:
    mac, said = whole
    report = mac.report()
    assert not report.host_is_target
    assert '"measured ' not in mac.measurements.read_text()
    parts = [part for each in report.candidates for part in (each.latency, each.fidelity, each.placement, each.cold_start)]
    assert {part.evidence for part in parts if part is not None} == {Evidence.SIMULATED}
    notes = " ".join(report.notes)
    assert "EDGEC_FACTS_ROOT is set" in notes
    assert "it is a stand-in" in notes
    assert "measured on" not in said


def test_the_table_fits_a_terminal(whole: tuple[Robot, str]) -> None:
    _, said = whole
    assert max(len(line) for line in said.splitlines() if "/" not in line) <= 80
    assert len(re.findall(r"^w8-(?:cpuOnly|cpuAndGPU|cpuAndNeuralEngine|all)\b", said, re.MULTILINE)) == 4


def test_edgec_compares_two_compute_units(whole: tuple[Robot, str], capsys: pytest.CaptureFixture[str]) -> None:
    mac, _ = whole
    assert edgec(["compare", str(mac.measurements), str(mac.measurements), "--candidate", "w8-cpuOnly"]) == 0
    assert "w8-cpuOnly" in capsys.readouterr().out


def test_no_compute_unit_that_computes_something_else_is_chosen(mac: Robot) -> None:
    done = mac.run("run-all", faults="nan@CPU_AND_NE,wrong@CPU_AND_GPU,no-plan@CPU_ONLY,refuse@ALL")
    assert done.code == 0, done
    report, tried = mac.report(), candidates(mac)
    assert report.chosen == "w8-cpuOnly"
    assert "wrong outputs of w8-cpuAndGPU, w8-cpuAndNeuralEngine" in report.reason
    assert tried["cpuAndNeuralEngine"].problem.count("patches holds 3 values that are NaN or infinite") == 4
    assert "patch_cosine_mean is" in tried["cpuAndGPU"].problem
    assert "Failed to build the model execution plan" in tried["all"].problem
    for name in ("cpuAndGPU", "cpuAndNeuralEngine", "all"):
        assert tried[name].latency is None
    assert tried["cpuAndNeuralEngine"].fidelity is not None
    assert tried["cpuAndNeuralEngine"].fidelity.patch_cosine_p01 == -1
    assert len(tried["cpuAndNeuralEngine"].fidelity.tasks) == 2
    assert tried["all"].fidelity is None
    assert tried["cpuOnly"].placement is None
    assert any("w8-cpuOnly: where operations run is not known" in note for note in report.notes)
    assert [each["variant"] for each in done.of("problem")] == ["w8-cpuAndGPU", "w8-cpuAndNeuralEngine", "w8-all"]


def test_without_a_sound_compute_unit_nothing_is_activated(mac: Robot) -> None:
    units = only("cpuOnly", "cpuAndGPU", "cpuAndNeuralEngine")
    done = mac.run("run-all", *units, faults="crash@CPU_ONLY,shape@CPU_AND_GPU,blind@CPU_AND_NE")
    assert done.code == 9
    said = " ".join(line for problem in done.of("problem") for line in problem["evidence"])
    for words in ("SIGSEGV", "cls has shape", "ignores its input"):
        assert words in said
    assert mac.current is None
    assert "nothing is active" in done.error["what"]


def test_a_unit_that_crashes_while_it_is_measured(mac: Robot) -> None:
    done = mac.run("run-all", *only("all"), faults="crash-bench@ALL")
    assert done.code == 10
    assert "SIGSEGV" in " ".join(done.error["evidence"])
    assert mac.current is None


def test_a_core_ml_that_takes_nothing_is_reported(mac: Robot) -> None:
    done = mac.run("run-all", *only("all"), faults="refuse@ALL")
    assert done.code == 10
    assert "error code: -5" in " ".join(done.error["evidence"])
    done = replace(mac, root=mac.root.with_name("other")).run("run-all", *only("all"), faults="refuse-compile")
    assert done.code == 10
    assert "Failed to parse the model specification" in " ".join(done.error["evidence"])
    assert mac.current is None


def test_a_load_that_hangs_is_ended_and_the_other_units_continue(mac: Robot, tmp_path: Path) -> None:
    """On a chip that no profile names, where every compute unit may be tried."""
    mac.facts = write_facts(tmp_path / "m9", machdep__cpu__brand_string="Apple M9")
    done = mac.run("run-all", *only("cpuOnly", "all"), "--patience", "4", faults="hang@ALL")
    assert done.code == 0, done
    assert mac.report().host.cpu == "Apple M9"
    assert mac.report().chosen == "w8-cpuOnly"
    assert "it printed nothing for" in candidates(mac)["all"].problem


def test_again_and_rollback_and_a_package_that_rots(mac: Robot) -> None:
    """What the steps of all boards promise, of an engine that is a folder of files."""
    assert mac.run("run-all", *only("cpuOnly")).code == 0
    first = mac.current
    assert first is not None
    again = mac.run("run-all", *only("cpuOnly"))
    assert again.code == 0
    steps = {each["step"]: each["result"] for each in again.of("done")}
    assert [steps[step] for step in ("build", "verify", "bench", "activate")] == ["unchanged"] * 4
    assert mac.run("run-all", *only("all")).code == 0
    assert mac.current != first
    assert mac.run("rollback").code == 0
    assert mac.current == first
    (status,) = mac.run("status").of("status")
    assert (status["state"], status["path"]) == ("verified", str(mac.home / "current" / _PACKAGE))
    weights = next((mac.home / "current" / _PACKAGE).rglob("weight.bin"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    (status,) = mac.run("status").of("status")
    assert status["state"] == "changed"
    assert mac.run("bench", *only("cpuOnly")).code == 8
    done = mac.run("run-all", *only("cpuOnly"))
    assert done.code == 0, done
    (status,) = mac.run("status").of("status")
    assert status["state"] == "verified"


def test_a_link_in_a_package_is_no_part_of_it(mac: Robot, tmp_path: Path) -> None:
    assert mac.run("run-all", *only("cpuOnly")).code == 0
    data = mac.home / "engines" / str(mac.current) / _PACKAGE / "Data"
    data.rename(tmp_path / "Data")
    data.symlink_to(tmp_path / "Data")
    (status,) = mac.run("status").of("status")
    assert status["state"] == "changed"


def test_ctrl_c_leaves_nothing_behind(mac: Robot, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    mac.env["TMPDIR"] = str(scratch)
    started = mac.start("run-all", "--json", *only("all"), faults="hang@ALL")
    assert started.stdout is not None
    try:
        while '"step": "verify"' not in started.stdout.readline():
            assert started.poll() is None
        while not (workers := psutil.Process(started.pid).children()):
            time.sleep(0.01)
        started.send_signal(signal.SIGINT)
        started.communicate(timeout=30)
        # At once, or by the kernel's hand if the signal came while the worker was being started.
        _, left = psutil.wait_procs(workers, timeout=10)
    finally:
        started.kill()
    assert started.returncode == 130
    assert left == []
    assert list(scratch.iterdir()) == []
    assert mac.current is None
    assert not mac.measurements.exists()


def test_a_runner_does_not_outlive_who_started_it(program: Path, tmp_path: Path) -> None:
    """On Linux the kernel ends it; macOS does not, and here nobody asked the kernel to."""
    job = {"do": "run", "model": "x.mlmodelc", "units": "ALL", "function": None, "frames": "frames.bin", "shape": [1, 2, 2, 3]}
    runner = [sys.executable, str(program), "--runner", "job.json"]
    starter = f"""
import json, os, pathlib, subprocess, time
pathlib.Path("job.json").write_text(json.dumps({{**{job!r}, "parent": os.getpid()}}))
print(subprocess.Popen({runner!r}).pid, flush=True)
time.sleep(600)
"""
    env = {**ENVIRONMENT, "STANDIN_FAULTS": "hang@ALL"}
    with subprocess.Popen([sys.executable, "-c", starter], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        process = psutil.Process(int(started.stdout.readline()))
        started.kill()
    process.wait(30)


def test_a_part_that_pip_left_out_is_named(mac: Robot, tmp_path: Path) -> None:
    """Where there is no wheel for a Python, coremltools comes without its compiled part."""
    package = tmp_path / "packages" / "coremltools"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "models" / "__init__.py").write_text("")
    mac.env["PYTHONPATH"] = str(package.parent)
    done = mac.run("run-all")
    assert done.code == 12
    assert "libcoremlpython" in " ".join(done.error["evidence"])
    mac.env["PYTHONPATH"] = ""
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    done = mac.run("run-all", "--python", bare)
    assert done.code == 12
    assert "No module named 'coremltools'" in " ".join(done.error["evidence"])
    (look,) = mac.run("look", "--python", bare).of("machine")
    assert (look["runtimes"], look["missing"], look["macos"]) == ({}, ["coreml"], "15.4.1")


@pytest.mark.skipif(sys.platform == "darwin", reason="this is a Mac")
def test_without_a_command_it_does_everything(mac: Robot) -> None:
    done = subprocess.run(
        [sys.executable, mac.bundle / MAC_PROGRAM], capture_output=True, text=True, timeout=60, check=False, env={"PATH": "/bin"}
    )
    assert done.returncode == 5
    assert "This is not a Mac" in done.stderr


def _on_the_machine_itself(mac: Robot) -> Result:
    mac = replace(mac, facts=Path("/"), env={})
    done = mac.run("run-all")
    assert done.code == 0, done
    return done


@pytest.mark.skipif(sys.platform != "darwin", reason="needs a Mac: Core ML runs nowhere else")
def test_on_a_real_mac_figures_are_measured(mac: Robot) -> None:
    _on_the_machine_itself(mac)
    assert {each.latency.evidence for each in mac.report().candidates if each.latency} <= {Evidence.TARGET, Evidence.HOST}
    assert candidates(mac)["cpuOnly"].placement is not None
    assert candidates(mac)["cpuOnly"].latency is not None, "the CPU reproduces the features"


def test_the_stand_in_has_only_what_the_real_coremltools_has() -> None:
    """Its names are those of the coremltools that is installed here, whose Python parts are all there on Linux, too."""
    import importlib.util
    import inspect

    spec = importlib.util.find_spec("coremltools")
    assert spec is not None
    assert spec.origin is not None
    assert not Path(spec.origin).is_relative_to(STANDIN)
    from edgec.lowering.coreml.sdk import quiet

    with quiet():
        import coremltools as ct
        from coremltools.models.compute_device import MLCPUComputeDevice, MLGPUComputeDevice, MLNeuralEngineComputeDevice
        from coremltools.models.compute_plan import MLComputePlan, MLComputePlanDeviceUsage, MLModelStructureProgramOperation
        from coremltools.models.utils import compile_model
    assert {unit.name for unit in ct.ComputeUnit} == {"ALL", "CPU_AND_GPU", "CPU_ONLY", "CPU_AND_NE"}
    assert list(inspect.signature(ct.models.CompiledMLModel.__init__).parameters)[1:4] == [
        "path",
        "compute_units",
        "function_name",
    ]
    assert list(inspect.signature(MLComputePlan.load_from_path).parameters) == ["path", "compute_units"]
    assert list(inspect.signature(compile_model).parameters) == ["model", "destination_path"]
    assert "preferred_compute_device" in MLComputePlanDeviceUsage.__annotations__
    assert {"operator_name", "outputs"} <= set(MLModelStructureProgramOperation.__annotations__)
    from edgec_mac.placement import DEVICES
    from edgec_mac.tool import UNITS as SPELT

    assert {each.__name__ for each in (MLCPUComputeDevice, MLGPUComputeDevice, MLNeuralEngineComputeDevice)} == set(DEVICES)
    assert {spelt for spelt, _ in SPELT.values()} == {unit.name for unit in ct.ComputeUnit}
    assert tuple(SPELT) == UNITS
