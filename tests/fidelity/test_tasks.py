"""What became of classes, masks and depths: by hand, and against what is computed the long way."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.errors import RequestError
from edgec.fidelity.tasks import TaskBudgets, TaskMeter, shortfalls
from edgec.records.fidelity import Output, TaskFidelity

RANDOM = np.random.default_rng(0)


def measured(output: Output, expected: object, actual: object, *, classes: int = 0, batch: int = 100) -> TaskFidelity:
    meter = TaskMeter("head", output, classes=classes)
    a, b = np.asarray(expected, np.float32), np.asarray(actual, np.float32)
    for start in range(0, len(a), batch):
        meter.add(a[start : start + batch], b[start : start + batch])
    return meter.summary()


def test_classes_and_their_margins() -> None:
    actual = measured("scores", [[3, 1, 0], [0, 2, 1], [5, 0, 4]], [[2, 1, 0], [0, 1, 3], [4, 0, 3.5]], batch=2).classes
    assert actual is not None
    assert actual.agreement == pytest.approx(2 / 3, abs=1e-6)
    assert actual.margin_float32 == pytest.approx((2 + 1 + 1) / 3, rel=1e-5)
    assert actual.margin_shipped == pytest.approx((1 - 2 + 0.5) / 3, rel=1e-5)
    assert actual.smallest_margin == -2


def test_one_class_alone_has_a_margin_to_nothing() -> None:
    actual = measured("scores", [[2], [3]], [[2], [1]]).classes
    assert actual is not None
    assert (actual.agreement, actual.smallest_margin) == (1, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf], ids=str)
def test_garbage_agrees_with_nothing(bad: float) -> None:
    scores = measured("scores", [[1, 0], [1, 0]], [[1, 0], [bad, 0]]).classes
    assert scores is not None
    assert scores.agreement == 0.5
    masks = measured("labels", [[[0, 1]]], [[[0, bad]]]).masks
    assert masks is not None
    assert (masks.pixel_agreement, masks.mean_iou, masks.iou) == (0.5, 0.5, (1.0, 0.0))
    depths = measured("depth", [[[1, 2]]], [[[1, bad]]]).depths
    assert depths is not None
    assert depths.relative_error == 5e5
    logits = measured("logits", [[[[1.0]], [[0.0]]]], [[[[bad]], [[0.0]]]]).masks
    assert logits is not None
    assert logits.mean_iou == 0


def test_masks_by_hand() -> None:
    expected = [[[0, 0, 1, 1]], [[0, 0, 0, 1]]]
    actual = [[[0, 1, 1, 1]], [[0, 0, 0, 0]]]
    found = measured("labels", expected, actual, classes=3, batch=1).masks
    assert found is not None
    assert found.iou == (round(4 / 6, 6), 0.5, None)
    assert found.mean_iou == round((4 / 6 + 0.5) / 2, 6)
    assert found.pixel_agreement == 0.75


def test_masks_the_long_way() -> None:
    expected, actual = RANDOM.integers(0, 5, (2, 7, 20, 30))
    found = measured("labels", expected, actual, batch=3).masks
    assert found is not None
    wanted = [((expected == c) & (actual == c)).sum() / ((expected == c) | (actual == c)).sum() for c in range(5)]
    np.testing.assert_allclose(found.iou, wanted, atol=1e-6)
    assert found.mean_iou == pytest.approx(np.mean(wanted), abs=1e-6)


def test_logits_are_compared_by_what_they_choose() -> None:
    logits = RANDOM.normal(size=(3, 4, 8, 8)).astype(np.float32)
    assert measured("logits", logits, logits * 2 + 1).masks == measured("logits", logits, logits).masks
    other = RANDOM.normal(size=(3, 4, 8, 8)).astype(np.float32)
    assert measured("logits", logits, other).masks == measured("labels", logits.argmax(1), other.argmax(1)).masks


def test_classes_that_come_late_are_counted_too() -> None:
    expected, actual = np.zeros((4, 2, 2)), np.zeros((4, 2, 2))
    expected[3], actual[2, 0, 0] = 6, 9
    found = measured("labels", expected, actual, batch=1).masks
    assert found is not None
    assert len(found.iou) == 10
    assert (found.iou[0], found.iou[6], found.iou[9]) == (round(11 / 16, 6), 0, 0)


def test_a_label_that_no_class_has_is_garbage_and_costs_no_memory() -> None:
    actual = measured("labels", [[[0, 1, 1, 1]]], [[[0, 1, 1e9, -4]]]).masks
    assert actual is not None
    assert actual.iou[:2] == (1.0, round(1 / 3, 6))
    with pytest.raises(ValueError, match="of 2 classes"):
        measured("labels", [[[0, 2]]], [[[0, 2]]], classes=2)


def test_depths_the_long_way() -> None:
    expected = RANDOM.uniform(0.5, 10, (5, 6, 7)).astype(np.float32)
    actual = (expected * RANDOM.uniform(0.8, 1.2, expected.shape)).astype(np.float32)
    found = measured("depth", expected, actual, batch=2).depths
    assert found is not None
    assert found.relative_error == pytest.approx(np.mean(np.abs(actual - expected) / expected), rel=1e-4)
    assert found.rmse == pytest.approx(np.sqrt(np.mean((actual - expected) ** 2)), rel=1e-4)


def test_values_are_compared_by_their_cosines() -> None:
    actual = measured("values", [[[1, 0], [0, 1]]], [[[2, 0], [1, 1]]]).values
    assert actual is not None
    assert (actual.cosine_mean, actual.cosine_min) == (
        pytest.approx((1 + 0.5**0.5) / 2, abs=1e-6),
        pytest.approx(0.5**0.5, abs=1e-6),
    )


def test_other_shapes_and_no_frames_are_errors() -> None:
    meter = TaskMeter("head", "depth")
    with pytest.raises(ValueError, match="no frames"):
        meter.summary()
    with pytest.raises(ValueError, match="is not"):
        meter.add(np.zeros((1, 2, 3)), np.zeros((1, 3, 2)))


def test_every_head_that_is_beyond_is_named() -> None:
    actual = [
        measured("scores", [[1, 0], [1, 0]], [[1, 0], [0, 1]]),
        measured("labels", [[[0, 1]]], [[[0, 0]]]),
        measured("depth", [[[2.0]]], [[[2.5]]]),
        measured("values", [[1.0]], [[-1.0]]),
    ]
    assert shortfalls(actual, TaskBudgets()) == ()
    assert shortfalls(actual, TaskBudgets(0.5, 0.25, 0.25)) == ()
    assert len(shortfalls(actual, TaskBudgets(0.51, 0.26, 0.24))) == 3
    said = shortfalls(actual, TaskBudgets(min_agreement=0.99, max_depth_error=0.1))
    assert "50.00%" in said[0]
    assert "0.2500 (at most 0.1)" in said[1]


@pytest.mark.parametrize("budgets", [{"min_agreement": 0}, {"min_iou": 1.1}, {"max_depth_error": 0}, {"min_iou": float("nan")}])
def test_budgets_that_nothing_can_keep(budgets: dict[str, float]) -> None:
    with pytest.raises(RequestError):
        TaskBudgets(**budgets)
