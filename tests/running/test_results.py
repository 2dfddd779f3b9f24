"""What heads found, in figures and words."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgec.records.fidelity import HeadFacts
from edgec.running.figures import Figures, Tally
from edgec.running.results import ClassShares, DepthRange, TopClass, counts, results_of

CLASSES = ("floor", "wall")


def head(output: str, classes: tuple[str, ...] = CLASSES, name: str = "x") -> HeadFacts:
    facts = {"name": name, "kind": "onnx", "output": output, "outputs": (name,), "classes": classes, "reads": ("cls",)}
    return HeadFacts.model_validate({**facts, "sha256": "0" * 64})


def test_the_share_is_a_softmax_and_the_margin_of_scores() -> None:
    [result] = results_of([head("scores")], {"x": np.array([1000.0, 1002.0], np.float32)})
    assert isinstance(result, TopClass)
    assert (result.name, result.index, result.margin) == ("wall", 1, 2.0)
    assert result.share == pytest.approx(1 / (1 + np.exp(-2)))
    assert result.words() == "x: wall 88.1 % (margin 2.00)"


def test_a_head_of_one_class_has_no_margin() -> None:
    [result] = results_of([head("scores", ("only",))], {"x": np.array([-3.0], np.float32)})
    assert result == TopClass("x", "only", 0, 1.0, None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_name_no_class(value: float) -> None:
    [result] = results_of([head("scores")], {"x": np.array([0.0, value], np.float32)})
    assert isinstance(result, TopClass)
    assert (result.name, result.share, result.margin) == (None, 0.0, None)
    assert "not finite" in result.words()
    json.dumps(result.to_json(), allow_nan=False)


def test_classes_without_names_have_numbers() -> None:
    results = results_of(
        [head("scores", ()), head("labels", (), "y")], {"x": np.array([0.0, 9.0], np.float32), "y": np.array([[0, 7]], np.int32)}
    )
    assert [result.words() for result in results] == ["x: 1 > 99.9 % (margin 9.00)", "y: 0 50.0 %, 7 50.0 %"]


def test_labels_beyond_the_classes_are_reported_too() -> None:
    [result] = results_of([head("labels")], {"x": np.array([[0, 0, 255, -1]], np.int32)})
    assert result == ClassShares("x", {"floor": 0.5, "wall": 0.0, "-1": 0.25, "255": 0.25})


def test_logits_count_as_their_greatest_class() -> None:
    logits = np.zeros((2, 2, 2), np.float32)
    logits[1, 0] = 1
    assert results_of([head("logits")], {"x": logits}) == (ClassShares("x", {"floor": 0.5, "wall": 0.5}),)


def test_depths_that_are_not_finite_are_left_out_and_reported() -> None:
    [result] = results_of([head("depth")], {"x": np.array([[1, 3], [2, np.nan]], np.float32)})
    assert result == DepthRange("x", 1.0, 2.0, 3.0, 0.75)
    assert result.words() == "x: 1 to 3, median 2, 25.0 % not finite"
    [nothing] = results_of([head("depth")], {"x": np.full((1, 1), np.inf, np.float32)})
    assert nothing.words() == "x: no depth is finite"
    json.dumps(nothing.to_json(), allow_nan=False)


def test_shares_from_a_head_are_reported_unchanged() -> None:
    """A softmax of a softmax would call a class of 90 % one of 69 %."""
    [result] = results_of([head("scores")], {"x": np.array([0.9004, 0.1], np.float32)})
    assert isinstance(result, TopClass)
    assert result.share == pytest.approx(0.9, abs=1e-3)


def test_a_share_is_never_rounded_to_a_certainty() -> None:
    shares = {"floor": 0.99999, "wall": 0.00001}
    assert ClassShares("x", shares).words() == "x: floor > 99.9 %, wall < 0.1 %"
    assert ClassShares("x", {"floor": 1.0, "wall": 0.0}).words() == "x: floor 100.0 %"


def test_many_classes_are_cut_short() -> None:
    assert ClassShares("x", {f"c{number}": 0.1 for number in range(10)}).words().endswith("c3 10.0 %, and 6 more")


def test_names_cannot_steer_a_terminal() -> None:
    [result] = results_of([head("scores", ("\x1b[31m", "b"))], {"x": np.array([1.0, 0.0], np.float32)})
    assert "\x1b" not in result.words()
    assert result.to_json()["class"] == "\x1b[31m"


@pytest.mark.parametrize("labels", [[[0, 3], [3, 3]], [[-5, 3], [3, 3]], [[1 << 30, 3], [3, 3]]])
def test_labels_are_counted_whatever_they_are(labels: list[list[int]]) -> None:
    assert counts(np.array(labels, np.int32)) == {labels[0][0]: 1, 3: 3}


def test_a_tally_of_a_run() -> None:
    tally = Tally()
    for name, low in (("wall", 1.0), ("floor", 3.0), ("wall", 2.0)):
        tally.add((TopClass("x", name, 0, 1.0, 1.0), DepthRange("d", low, low + 1, 9.0, 1.0), ClassShares("m", {name: 1.0})))
    tally.add((TopClass("x", None, 0, 0.0, None), DepthRange("d", None, None, None, 0.0), ClassShares("m", {"wall": 1.0})))
    assert tally.to_json() == {
        "x": {"top_class_frames": {"wall": 2, "floor": 1, "None": 1}},
        "d": {"min": 1.0, "median_of_medians": 3.0, "max": 9.0},
        "m": {"mean_shares": {"wall": 0.75, "floor": 0.25}},
    }


def test_the_rate_is_of_the_last_frames() -> None:
    figures = Figures()
    figures.add(0, [5.0], 4.0)
    assert figures.recent().rate is None
    for number in range(1, 300):
        figures.add(number * 20_000_000, [7.0, 9.0], 4.0)
    recent = figures.recent()
    assert recent.rate == pytest.approx(100)
    assert (recent.frames, recent.latency.p50_ms, recent.latency.p99_ms) == (100, 7.0, 9.0)
    assert (figures.frames, len(figures.model_ms)) == (599, 300)
