"""The program for CPU boards on an emulated Cortex-A76: everything from preflight to activation, with the real runtimes' arm64
code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.arm64.machine import Machine, run_emulated
from edgec.building import build
from edgec.records.consistency import read_report
from edgec.records.evidence import Evidence
from edgec.request import BuildRequest
from tests.support.files import save_checkpoint
from tests.support.frames import draw_pictures
from tests.support.models import SMALL


@pytest.fixture(scope="module")
def artefact(arm64: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built here for a Raspberry Pi 5, with every candidate that keeps the features."""
    folder = tmp_path_factory.mktemp("board")
    checkpoint, frames = save_checkpoint(folder / "checkpoint"), folder / "frames"
    draw_pictures(frames)
    request = BuildRequest(
        str(checkpoint), target="cpu-raspberry-pi-5", calibration=str(frames), size=SMALL, iterations=3, min_fidelity=0.9,
        output=folder / "pi.edgec",
    )  # fmt: skip
    return build(request).directory


def test_it_goes_from_preflight_to_an_active_model(artefact: Path, tmp_path: Path) -> None:
    variants = json.loads((artefact / "device" / "bundle.json").read_text())["variants"]
    assert {variant["runtime"] for variant in variants} == {"onnxruntime", "openvino"}
    report = read_report(artefact / "report.json")
    assert report.reason.startswith("undecided: ")
    assert all(candidate.latency is None for candidate in report.candidates)
    (half,) = (candidate for candidate in report.candidates if candidate.precision == "fp16")
    assert half.fidelity is None, "nothing here can judge it"

    root = tmp_path / "edgec"
    program = artefact / "device" / "edgec-cpu.pyz"
    # Few: to start one under emulation takes seconds. fp16 is what no other machine than the board can judge.
    names = [next(each["name"] for each in variants if each["runtime"] == "onnxruntime"), half.name]
    asked = [part for name in names for part in ("--variant", name)]
    done = run_emulated([program, "run-all", "--dir", root, "--seconds", "0.05", "--iterations", "3", *asked], timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr

    (home,) = (path for path in root.iterdir() if path.is_dir() and not path.name.startswith("environments"))
    measured = read_report(home / "measurements.json")
    assert measured.host.emulated_on is not None
    assert not measured.host_is_target
    tried = [candidate for candidate in measured.candidates if candidate.latency is not None]
    assert {candidate.name for candidate in tried} == set(names)
    for candidate in tried:
        assert candidate.latency is not None
        assert candidate.fidelity is not None
        assert candidate.latency.evidence is candidate.fidelity.evidence is Evidence.EMULATED
    engine = json.loads((home / "current" / "engine.json").read_text())
    assert engine["variant"] == measured.chosen
    assert "Cortex-A76" in engine["cpu"]
    assert all((home / "current" / name).is_file() for name in engine["files"])
