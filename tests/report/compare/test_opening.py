"""What the command line may name: reports, artefacts, folders of runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgec.errors import ArtefactError, EdgecError, RequestError
from edgec.records.report import Block, Report
from edgec.report.compare.opening import open_side
from tests.support.reports import samples

Made = Callable[..., Report]
Written = Callable[..., Path]


def refused(kind: type[EdgecError], path: Path, *arguments: str) -> str:
    with pytest.raises(kind) as caught:
        open_side(path, *arguments)
    return str(caught.value)


def test_a_report_an_artefact_and_a_folder_of_one(write: Written, tmp_path: Path) -> None:
    path = write("made.edgec/report.json")
    write("made.edgec/manifest.json")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "any.json").write_bytes(path.read_bytes())
    sides = [open_side(place) for place in (path, path.parent, tmp_path / "runs")]
    assert sides[0].report == sides[1].report == sides[2].report
    assert {side.candidate.name for side in sides} == {"openvino int8"}


def test_another_candidate(write: Written) -> None:
    path = write("report.json")
    assert open_side(path, "onnxruntime int8").candidate.precision == "int8"
    said = refused(RequestError, path, "onnxruntime int4")
    assert "no candidate 'onnxruntime int4'" in said
    assert "openvino fp32, openvino int8, onnxruntime int8, openvino bf16" in said


def test_several_runs_are_taken_together(write: Written, tmp_path: Path) -> None:
    for seed in range(3):
        write(f"runs/{seed}.json", samples(seed, count=50, ms=10.0 * (seed + 1)))
    side = open_side(tmp_path / "runs")
    assert [len(run.samples) for run in side.runs] == [50, 50, 50]
    assert side.samples == 150
    assert side.quantile_ms("p50", 0.5) == pytest.approx((10 * 20 * 30) ** (1 / 3), rel=0.01)
    assert side.quantile_ms("p99", 0.99) == pytest.approx(30, rel=0.05)
    assert side.max_ms == max(run.samples.max() for run in side.runs)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model__checkpoint_sha256": "cd" * 32}, "checkpoint"),
        ({"artefact_sha256": "cd" * 32}, "artefact: unknown in 0.json, cdcd"),
        ({"host__cpu": "Another CPU"}, "host"),
        ({"latency__threads": 1}, "threads: 2 in 0.json, 1 in 1.json"),
        ({"candidate__size_bytes": 1}, "size"),
        ({"input_shape": (2, 224, 224, 3)}, "batch: 1 in 0.json, 2 in 1.json"),
    ],
)
def test_runs_of_different_things_are_refused(write: Written, tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    write("runs/0.json")
    write("runs/1.json", **changes)
    said = refused(RequestError, tmp_path / "runs")
    assert "are not of one thing" in said
    assert named in said


def test_runs_without_samples_cannot_be_taken_together(write: Written, tmp_path: Path) -> None:
    write("runs/0.json")
    write("runs/1.json", latency__samples_ms=())
    assert "hold samples" in refused(RequestError, tmp_path / "runs")


def test_a_run_counts_once(write: Written, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1), ("c", 0)):
        write(f"runs/{name}.json", samples(seed))
    assert "a.json and c.json hold the same samples" in refused(RequestError, tmp_path / "runs")


def test_nothing_to_open(tmp_path: Path) -> None:
    assert "There is no report in" in refused(RequestError, tmp_path)
    assert "There is no report at" in refused(ArtefactError, tmp_path / "report.json")


def test_candidates_of_one_report_took_turns(make: Made, write: Written) -> None:
    blocks = tuple(Block(round=number, runs=10) for number in range(40))
    report = make(latency__blocks=blocks)
    fp32 = report.candidates[0]
    assert fp32.latency is not None
    assert fp32.latency.iterations == 3
    other = fp32.model_copy(
        update={"latency": fp32.latency.model_copy(update={"blocks": (Block(round=0, runs=2), Block(round=7, runs=1))})}
    )
    path = write("report.json")
    path.write_text(report.model_copy(update={"candidates": (other, *report.candidates[1:])}).to_json())
    chosen, slow, without = open_side(path), open_side(path, "openvino fp32"), open_side(path, "onnxruntime int8")
    assert list(slow.runs[0].rounds) == [0, 0, 7]
    assert np.array_equal(chosen.runs[0].rounds, np.repeat(np.arange(40), 10))
    assert chosen.took_turns_with(slow)
    assert not chosen.took_turns_with(without)
    assert not chosen.took_turns_with(open_side(write("other.json")))
