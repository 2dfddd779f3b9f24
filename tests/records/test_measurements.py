"""What boards measure is read wherever reports are, and as strictly; the report is made of it here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from edgec.errors import ArtefactError
from edgec.onboard import measurements
from edgec.onboard.statistics import summary
from edgec.records.consistency import read_report
from edgec.records.measurements import is_measurements
from edgec.records.report import SCHEMA_VERSION

SAMPLES = [3.0, 2.0, 2.5]


def said(**changes: Any) -> dict[str, Any]:
    """By a board of which nothing is known."""
    timings = {
        "samples_ms": SAMPLES,
        "blocks": [{"round": 0, "runs": 3}],
        "warmup": 5,
        "evidence": "measured on target",
        "flags": ["--useSpinWait", "--layers=" + "x" * 300],
        "temperatures_c": {"gpu": [40.0, 51.5]},
        "power_mw": {"VDD_IN": [6000.0, 7100.0]},
    }
    model = {"name": "s", "arch": "a", "checkpoint_sha256": "0" * 64, "random_weights": True, "gflops": 0.1, "parameters": 3}
    host = {
        **{"cpu": "c", "architecture": "aarch64", "memory_bytes": 8, "os": "Linux", "python": "3.8"},
        **dict.fromkeys(("physical_cores", "logical_cores", "usable_cores"), 6),
    }
    document = {
        **{"edgec_version": "0.1.0", "model": model, "target": "jetson", "host_is_target": True, "input_shape": [1, 64, 96, 3]},
        **{"precision_asked": "auto", "budget": {"min_fidelity": 0.9, "min_iou": 0.8}, "calibration": "frames"},
        **{"validation_frames": 2, "host": host, "tool": "trtexec", "doubts": ["it is pretended"], "remarks": ["A board."]},
        "candidates": [
            {"name": "int8", "runtime": "tensorrt", "precision": "int8", "timings": timings, "remarks": ["warm."]},
            {"name": "fp16", "runtime": "tensorrt", "precision": "fp16", "problem": "it broke"},
        ],
        **{"chosen": "int8", "reason": "int8 is the fastest.", "details": {"anything": [1, "x"]}},
    }
    return document | changes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / measurements.NAME


def test_the_report_of_measurements(path: Path) -> None:
    measurements.write(path, said())
    assert is_measurements(path)
    report = read_report(path)
    assert (report.schema_version, report.chosen, report.min_iou) == (SCHEMA_VERSION, "int8", 0.8)
    int8, fp16 = report.candidates
    assert int8.latency is not None
    assert {name: getattr(int8.latency, name) for name in vars(summary(SAMPLES))} == vars(summary(SAMPLES))
    assert (int8.latency.iterations, int8.latency.samples_ms) == (3, tuple(SAMPLES))
    assert (int8.chosen, fp16.chosen, fp16.problem) == (True, False, "it broke")
    assert report.notes == (
        "Not measured on target: it is pretended.",
        "A board.",
        "int8 was measured with trtexec --useSpinWait --layers=….",
        "int8: gpu 40 to 51.5 °C.",
        "int8: power while measuring: VDD_IN 6.0 W (at most 7.1).",
        "int8: warm.",
    )
    path.with_name("report.json").write_text(report.to_json())
    assert read_report(path.with_name("report.json")) == report


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"chosen": None}, "nothing was chosen"),
        ({"chosen": "fp8"}, "contradicts itself"),
        ({"candidates": [{"name": "int8"}]}, "does not say what a measurement file must"),
        ({"added": 1}, "does not say what a measurement file must"),
        ({"schema_version": 2}, "cannot read it"),
        ({"budget": {}}, "does not say what a measurement file must"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_measurements_without_a_report_are_refused(path: Path, changes: dict[str, Any], words: str) -> None:
    measurements.write(path, said(**changes))
    with pytest.raises(ArtefactError) as caught:
        read_report(path)
    assert words in str(caught.value)


def test_a_changed_byte_is_noticed(path: Path) -> None:
    measurements.write(path, said())
    path.write_text(path.read_text().replace("51.5", "41.5"))
    with pytest.raises(ArtefactError, match="its seal does not fit"):
        read_report(path)
    bare = {"kind": "measurements", "schema_version": 1, "created": "now", **said()}
    path.write_text(json.dumps(bare, indent=1))
    with pytest.raises(ArtefactError, match="its seal does not fit"):
        read_report(path)


def test_pipes_are_not_read(path: Path) -> None:
    os.mkfifo(path)
    assert not is_measurements(path)
    assert not is_measurements(path / "none")
    with pytest.raises(ArtefactError, match="not a regular file"):
        read_report(path)
