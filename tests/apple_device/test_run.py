"""Whole runs on a Mac that is none: what is measured, what is refused, and what is written."""

from __future__ import annotations

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
from tests.apple_device.mac import SECONDS, STANDIN, Done, Mac, write_facts

FEW = ("--iterations", "12")


@pytest.fixture(scope="module")
def whole(artefact: Path, facts: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Mac, Done]:
    """The archive itself, with nothing wrong."""
    mac = Mac(artefact, artefact / MAC_PROGRAM, facts, tmp_path_factory.mktemp("whole") / "out")
    done = mac.run(*FEW)
    assert done.code == 0, done
    return mac, done


def test_every_compute_unit_is_judged_and_measured(whole: tuple[Mac, Done]) -> None:
    mac, _ = whole
    report, candidates = mac.report(), mac.candidates()
    assert list(candidates) == ["cpuOnly", "cpuAndGPU", "cpuAndNeuralEngine", "all"]
    assert report.artefact_sha256 == sha256_of(mac.artefact / MANIFEST)
    assert report.input_shape == (1, 64, 96, 3)
    assert report.host.cpu == "Apple M4 Pro"
    assert report.host.os == "macOS 15.4.1 (24E263)"
    for name, candidate in candidates.items():
        assert candidate.name == f"coreml-w8 on {name}"
        assert not candidate.problem
        assert candidate.fidelity is not None
        assert candidate.fidelity.patch_cosine_p01 is not None
        assert candidate.fidelity.patch_cosine_p01 > 0.98
        assert candidate.latency is not None
        assert len(candidate.latency.samples_ms) == sum(block.runs for block in candidate.latency.blocks) == 12
        assert candidate.latency.warmup >= 5
        assert candidate.latency.power_mode == "AC Power"
        assert candidate.cold_start is not None
        assert candidate.cold_start.process_ms is not None
        assert candidate.cold_start.import_ms is not None
        assert candidate.cold_start.process_ms > candidate.cold_start.load_ms + candidate.cold_start.first_inference_ms
    rounds = [{block.round for block in each.latency.blocks} for each in candidates.values() if each.latency]
    assert rounds == [{0, 1}] * 4
    medians = {each.name: each.latency.p50_ms for each in candidates.values() if each.latency}
    assert report.chosen == min(medians, key=lambda name: medians[name])


def test_fidelity_is_what_the_build_found_of_the_golden_frames(whole: tuple[Mac, Done]) -> None:
    """The stand-in runs the package as edgec does, so that the whole way of pixels and features must change nothing."""
    mac, _ = whole
    assert all("1.000000" in note for note in mac.report().notes if "what edgec's evaluator computed" in note)
    assert sum("what edgec's evaluator computed" in note for note in mac.report().notes) == 4


def test_heads_decisions_are_reported_and_compared(whole: tuple[Mac, Done]) -> None:
    mac, done = whole
    report = mac.report()
    assert [(head.name, head.output) for head in report.heads] == [("floor", "labels"), ("kind", "scores")]
    for name, candidate in mac.candidates().items():
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
    assert done.stdout.count("floor IoU 0.9") == 4
    assert done.stdout.count("kind agrees 100.0%") == 4


def test_other_labels_are_refused(mac: Mac) -> None:
    """A sixth of the pixels, of features that are right; and labels of another type."""
    done = mac.run(*FEW, "--compute-units", "cpuOnly", "--compute-units", "all", faults="labels@CPU_ONLY,float@ALL")
    assert done.code == 9, done
    said = " ".join(done.stderr.split())
    assert re.search(r"cpuOnly: frame \d: floor has \d\d\.\d\d% of the expected labels, and must have at least 99\.00%", said)
    assert "all: floor is float32, not int32" in said


def test_the_placement_of_operations_is_reported(whole: tuple[Mac, Done]) -> None:
    mac, done = whole
    placement = mac.candidates()["cpuAndNeuralEngine"].placement
    assert placement is not None
    assert placement.asked == "cpuAndNeuralEngine"
    assert set(placement.by_device) == {"neural engine", "cpu"}
    assert placement.by_device["neural engine"] > 50
    assert {(each.kind, each.device) for each in placement.fallen} == {("cast", "cpu")}
    assert len(placement.fallen) == placement.by_device["cpu"]
    total = sum(placement.by_device.values())
    assert f"{placement.by_device['neural engine']}/{total}" in done.stdout
    cpu = mac.candidates()["cpuOnly"].placement
    assert cpu is not None
    assert cpu.by_device == {"cpu": total}
    assert not cpu.fallen


def test_figures_of_a_stand_in_are_not_called_measured(whole: tuple[Mac, Done]) -> None:
    mac, done = whole
    report = mac.report()
    assert not report.host_is_target
    assert '"measured' not in mac.place.read_text()
    assert {each.latency.evidence for each in report.candidates if each.latency} == {Evidence.SIMULATED}
    notes = " ".join(report.notes)
    assert "EDGEC_FACTS_ROOT is set" in notes
    assert "it is a stand-in" in notes
    assert "measured on" not in done.stdout


def test_the_table_fits_a_terminal(whole: tuple[Mac, Done]) -> None:
    _, done = whole
    assert max(len(line) for line in done.stdout.splitlines() if not line.startswith("measurements:")) <= 80
    assert len(re.findall(r"^(?:cpuOnly|cpuAndGPU|cpuAndNeuralEngine|all) .*\d/\d", done.stdout, re.MULTILINE)) == 4


def test_edgec_compares_two_compute_units(whole: tuple[Mac, Done], capsys: pytest.CaptureFixture[str]) -> None:
    mac, _ = whole
    assert edgec(["compare", str(mac.place), str(mac.place), "--candidate", "coreml-w8 on cpuOnly"]) == 0
    assert "coreml-w8 on cpuOnly" in capsys.readouterr().out


def test_measurements_are_only_replaced_with_force(whole: tuple[Mac, Done]) -> None:
    mac, _ = whole
    content = mac.place.read_bytes()
    again = mac.run(*FEW)
    assert again.code == 8
    assert "--force" in again.stderr
    assert mac.run(*FEW, "--force", faults="refuse-compile").code == 10
    assert mac.place.read_bytes() == content
    assert [path.name for path in mac.output.iterdir()] == ["measurements.json"]
    assert not list(mac.output.rglob(".*"))


def test_no_compute_unit_that_computes_something_else_is_chosen(mac: Mac) -> None:
    done = mac.run(*FEW, faults="nan@CPU_AND_NE,wrong@CPU_AND_GPU,no-plan@CPU_ONLY,refuse@ALL")
    assert done.code == 0, done
    report, candidates = mac.report(), mac.candidates()
    assert report.chosen == "coreml-w8 on cpuOnly"
    assert "wrong outputs on cpuAndGPU, cpuAndNeuralEngine" in report.reason
    assert candidates["cpuAndNeuralEngine"].problem.count("patches holds 3 values that are NaN or infinite") == 4
    assert "patch_cosine_mean is" in candidates["cpuAndGPU"].problem
    assert "Failed to build the model execution plan" in candidates["all"].problem
    for name in ("cpuAndGPU", "cpuAndNeuralEngine", "all"):
        assert candidates[name].latency is None
    assert candidates["cpuAndNeuralEngine"].fidelity is not None
    assert candidates["cpuAndNeuralEngine"].fidelity.patch_cosine_p01 == -1
    assert len(candidates["cpuAndNeuralEngine"].fidelity.tasks) == 2
    assert candidates["all"].fidelity is None
    assert candidates["cpuOnly"].placement is None
    assert any("cpuOnly: where operations run is not known" in note for note in report.notes)
    assert done.stdout.count("FAILED:") == 3


def test_without_a_sound_compute_unit_there_is_no_report(mac: Mac) -> None:
    done = mac.run(*FEW, faults="crash@CPU_ONLY,shape@CPU_AND_GPU,blind@CPU_AND_NE,crash-bench@ALL")
    assert done.code == 9
    for words in ("SIGSEGV", "cls has shape", "ignores its input"):
        assert words in " ".join(done.stderr.split())
    assert done.stderr.count("SIGSEGV") == 2
    assert not mac.output.exists()


def test_a_core_ml_that_loads_nothing_is_reported(mac: Mac) -> None:
    done = mac.run("--compute-units", "all", faults="refuse@ALL")
    assert done.code == 10
    assert "error code: -5" in done.stderr
    assert not mac.output.exists()


def test_a_load_that_hangs_is_ended_and_the_other_units_continue(mac: Mac, tmp_path: Path) -> None:
    """On a chip that no profile names, where every compute unit may be tried."""
    mac.facts = write_facts(tmp_path / "m9", machdep__cpu__brand_string="Apple M9")
    done = mac.run(*FEW, "--compute-units", "cpuOnly", "--compute-units", "all", "--patience", "4", faults="hang@ALL")
    assert done.code == 0, done
    assert mac.report().host.cpu == "Apple M9"
    assert mac.report().chosen == "coreml-w8 on cpuOnly"
    assert mac.candidates()["all"].problem == "no answer within 4 s"


def test_ctrl_c_leaves_nothing(mac: Mac, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    mac.env = {"TMPDIR": str(scratch)}
    started = subprocess.Popen(
        mac.command("--compute-units", "all"),
        env=mac.environment("hang@ALL"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    try:
        while "golden frames" not in started.stdout.readline():
            assert started.poll() is None
        while not (workers := psutil.Process(started.pid).children()):
            time.sleep(0.01)
        started.send_signal(signal.SIGINT)
        _, said = started.communicate(timeout=30)
        left = [worker for worker in workers if worker.is_running()]  # zombies too: it has reaped what it ended
    finally:
        started.kill()
    assert started.returncode == 130
    assert "interrupted; nothing was written" in said
    assert left == []
    assert list(scratch.iterdir()) == []
    assert not mac.output.exists()


def test_ctrl_c_at_any_moment(program: Path, tmp_path: Path) -> None:
    """A worker that is being started when the interruption comes is known to those who end it."""
    script = f"""
import sys, threading, time, os, signal
sys.path.insert(0, {str(program)!r})
from pathlib import Path
from edgec_mac import process
interrupted = 0
for number in range(60):
    timer = threading.Timer(number * 6e-5, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        with process.Worker(Path({str(tmp_path / "log")!r}), 5.0):
            time.sleep(5)
    except KeyboardInterrupt:
        interrupted += 1
process.end_workers()
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print(interrupted, "interrupted, none left")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.stdout == "60 interrupted, none left\n", done.stderr


def test_a_part_that_pip_left_out_is_named(mac: Mac, tmp_path: Path) -> None:
    """Where there is no wheel for a Python, coremltools comes without its compiled part."""
    package = tmp_path / "packages" / "coremltools"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "models" / "__init__.py").write_text("")
    mac.env = {"PYTHONPATH": str(package.parent)}
    done = mac.run()
    assert done.code == 5
    assert "libcoremlpython" in done.stderr
    bare = subprocess.run(
        [sys.executable, "-S", mac.program, mac.artefact],
        env=mac.environment() | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    assert bare.returncode == 5
    assert "missing: coremltools, numpy, PIL" in bare.stderr


@pytest.mark.skipif(sys.platform != "darwin", reason="needs a Mac: Core ML runs nowhere else")
def test_on_a_real_mac_figures_are_measured(mac: Mac) -> None:
    mac = replace(mac, facts=None, env={"PYTHONPATH": ""})
    done = mac.run(*FEW)
    assert done.code == 0, done
    found = {each.latency.evidence for each in mac.report().candidates if each.latency}
    assert found <= {Evidence.TARGET, Evidence.HOST}
    assert mac.candidates()["cpuOnly"].placement is not None


@pytest.mark.skipif(sys.platform != "darwin", reason="needs a Mac: Core ML runs nowhere else")
def test_on_a_real_mac_the_cpu_reproduces_the_features(mac: Mac) -> None:
    mac = replace(mac, facts=None, env={"PYTHONPATH": ""})
    assert mac.run(*FEW, "--compute-units", "cpuOnly").code == 0


def test_the_stand_in_has_only_what_the_real_coremltools_has() -> None:
    """Its names are those of the coremltools that is installed here, whose Python parts are all there on Linux, too."""
    import importlib.util
    import inspect

    found = importlib.util.find_spec("coremltools")
    assert found is not None
    assert found.origin is not None
    assert not Path(found.origin).is_relative_to(STANDIN)
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

    assert {each.__name__ for each in (MLCPUComputeDevice, MLGPUComputeDevice, MLNeuralEngineComputeDevice)} == set(DEVICES)
