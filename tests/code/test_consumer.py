"""A robot's own program around the headers: the verdict, the shapes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.programs import Program
from edgec.artefact.checking import check_outputs
from edgec.artefact.reading import open_artefact
from edgec.artefact.tolerances import allowed
from edgec.lowering import registry
from tests.code.test_programs import drifts, raw
from tests.running.conftest import GREEN, plain, reddish

MOVES = {"still": 0.0, "a little": 1e-5, "too far": 1e-2, "nothing": np.nan}


@pytest.mark.parametrize("move", MOVES)
def test_the_self_test_judges_as_edgec_verify_does(move: str, consumer: Program, pairs: Path, tmp_path: Path) -> None:
    """Outputs that moved from what was recorded, by a share of their largest value; labels too, in a few pixels."""
    (size,) = open_artefact(pairs).sizes
    random = np.random.default_rng(3)
    actual = {}
    for output in size.facts.outputs:
        recorded = size.golden.expected_shipped[output.name]
        if output.role == "labels":
            flips = random.random(recorded.shape) < MOVES[move]
            actual[output.name] = np.where(flips, (recorded + 1) % 3, recorded).astype(np.int32)
            continue
        noise = random.uniform(-1, 1, recorded.shape) * np.abs(recorded).max() * MOVES[move]
        actual[output.name] = (recorded + noise).astype(np.float32)
    checks = check_outputs(size, actual, size.golden.expected_shipped, allowed("fp32", size.facts.golden, same=False))

    names = [output.name for output in size.facts.outputs]
    whole = b"".join(actual[name][frame].tobytes() for frame in range(size.facts.golden.count) for name in names)
    (tmp_path / "actual.bin").write_bytes(whole)
    done = consumer.run("judge", pairs.with_name("two-cpp") / "artefact", tmp_path / "actual.bin")
    passed = all(check.passed for check in checks)
    assert passed == (MOVES[move] < 1e-3)
    assert done.returncode == (0 if passed else 9), done.stderr
    lines = [[float(value) for value in line.split()] for line in done.stdout.splitlines()]
    for line, check in zip(lines, checks, strict=True):
        figures = [check.difference, check.tolerance, check.cosine, check.min_cosine, float(check.passed)]
        assert line == pytest.approx(figures, rel=1e-9, abs=1e-12, nan_ok=True), check.name


def test_frames_of_another_size_are_refused(consumer: Program, pairs: Path) -> None:
    done = consumer.run("refuse", pairs.with_name("two-cpp") / "artefact")
    assert done.stdout.split() == ["4", "4", "4", "0"]


def test_outputs_are_read_by_their_indices(consumer: Program, pairs: Path, tmp_path: Path) -> None:
    opened = open_artefact(pairs)
    frames = np.random.default_rng(5).integers(0, 256, opened.manifest.input.shape, dtype=np.uint8)
    (tmp_path / "frames.rgb").write_bytes(frames.tobytes())
    done = consumer.run("look", pairs.with_name("two-cpp") / "artefact", tmp_path / "frames.rgb")
    outputs = registry.get("onnxruntime").load(opened.lowered)(frames)
    values = [outputs["where"][1, 3, 5], outputs["bright"][0, 31, 47], outputs["colour"][1, 2], outputs["grid"][1, 1, 2, 0]]
    assert [float(value) for value in done.stdout.split()] == pytest.approx(values, rel=1e-6)


def test_a_last_batch_that_is_not_full_gives_one_answer_a_frame(consumer: Program, pairs: Path, tmp_path: Path) -> None:
    opened = open_artefact(pairs)
    frames = np.random.default_rng(6).integers(0, 256, (3, *opened.manifest.input.shape[1:]), dtype=np.uint8)
    (tmp_path / "frames.rgb").write_bytes(frames.tobytes())
    program = Program(consumer.path.with_name("run-frames"))
    done = program.run("--output", tmp_path / "all.bin", tmp_path / "frames.rgb")
    assert done.returncode == 0, done.stderr
    assert "3 frames" in done.stdout
    runner = registry.get("onnxruntime").load(opened.lowered)
    one, other = runner(frames[:2]), runner(frames[[2, 2]])
    names = [output.name for output in opened.manifest.outputs]
    answers = [(one, 0), (one, 1), (other, 0)]
    assert (tmp_path / "all.bin").read_bytes() == b"".join(each[name][at].tobytes() for each, at in answers for name in names)


def test_the_drift_score_is_that_of_edgec_run(consumer: Program, pairs: Path, tmp_path: Path) -> None:
    frames = np.stack([reddish(101), plain(GREEN), reddish(102) // 2])
    program = Program(consumer.path.with_name("run-frames"))
    done = program.run("--json", "--drift", tmp_path / "drift.json", raw(tmp_path / "frames.rgb", frames))
    assert done.returncode == 0, done.stderr
    expected = drifts(pairs, frames, tmp_path)
    assert json.loads((tmp_path / "drift.json").read_text()) == pytest.approx(expected, rel=1e-6)
    assert json.loads(done.stdout)["drift"] == {"alarms": 2, "largest": pytest.approx(max(expected), rel=1e-4)}


def test_a_drift_score_that_comes_out_differently_is_refused(consumer: Program, pairs: Path) -> None:
    done = consumer.run("drift", pairs.with_name("two-cpp") / "artefact")
    assert done.stdout.split() == ["0", "1e+06", "1e+06", "9"], done.stderr
