"""The arithmetic of boards without numpy against numpy's, and both against what is computed the long way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.fidelity.metrics import compare
from edgec.fidelity.tasks import TaskMeter
from edgec.onboard import measurements, plain, tasks, vectorised
from edgec.onboard.judging import GATES, figures
from edgec.records.evidence import Evidence
from edgec.records.fidelity import Output, TaskFidelity


def flat(array: Any) -> list[float]:
    return list(np.asarray(array, np.float64).ravel().tolist())


@pytest.mark.parametrize("noise", [0.0, 1e-4, 0.3, 5.0])
def test_figures(noise: float) -> None:
    random = np.random.default_rng(0)
    shapes = {"cls": (3, 64), "patches": (3, 7, 9, 64)}
    expected = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    actual = {name: (array + noise * random.normal(size=array.shape)).astype(np.float32) for name, array in expected.items()}
    if noise == 5.0:
        actual["patches"][0, 0, 0] = np.nan
        actual["patches"][1, 2, 3] = 0
        actual["cls"][1, 5] = np.inf
        expected["patches"][2, 0, 0] = actual["patches"][2, 0, 0] = 0
    found = {name: plain.vector_cosines(flat(expected[name]), flat(actual[name]), 64) for name in expected}
    for name, values in found.items():
        assert values == pytest.approx(vectorised.vector_cosines(expected[name], actual[name], 64).tolist(), abs=1e-12)
    same = compare(expected, actual, "x", Evidence.SIMULATED)
    assert figures(found["cls"], found["patches"], plain) == pytest.approx(
        {name: getattr(same, name) for name in GATES}, abs=2e-6
    )


SHAPES = {"scores": (3, 5), "labels": (3, 6, 8), "logits": (3, 5, 6, 8), "depth": (3, 6, 8), "values": (3, 4, 5, 7)}


@pytest.mark.parametrize("spoilt", [False, True])
@pytest.mark.parametrize("noise", [0.0, 0.1, 5.0])
@pytest.mark.parametrize("role", SHAPES)
def test_what_heads_keep(role: Output, noise: float, spoilt: bool) -> None:
    random, shape = np.random.default_rng(0), SHAPES[role]
    expected = random.normal(2, 1, shape).astype(np.float32)
    actual = (expected + noise * random.normal(size=shape)).astype(np.float32)
    if role == "labels":
        expected, actual = (np.clip(np.rint(each), 0, 4).astype(np.float32) for each in (expected, actual))
    if spoilt:
        actual[0].flat[:2] = np.nan, np.inf
        actual[1].flat[3] = 900
        actual[2].flat[0] = -7
    classes = 5 if role == "labels" else 0
    whole = TaskMeter("head", role, classes=classes)
    whole.add(expected, actual)
    board = tasks.Meter("head", role, plain, classes=classes)
    for one, other in zip(expected, actual, strict=True):
        board.add(flat(one), flat(other), 1, shape[1:])
    wanted, found = whole.summary().model_dump(mode="json", exclude_none=True), board.summary()
    (part,) = set(wanted) - {"head", "output"}
    assert part == tasks.PARTS[role]
    assert set(found) == {"head", "output", part}
    for name, value in wanted[part].items():
        assert found[part][name] == pytest.approx(value, rel=2e-5, abs=2e-6), name
    assert TaskFidelity.model_validate(found)
    assert tasks.headline(found).startswith("head ")


def test_labels_without_a_number_of_classes() -> None:
    expected, actual = np.array([[[0, 1], [1, 2]]], np.float32), np.array([[[0, 9], [1, 1e9]]], np.float32)
    whole = TaskMeter("head", "labels")
    whole.add(expected, actual)
    board = tasks.Meter("head", "labels", plain)
    board.add(flat(expected), flat(actual), 1, (2, 2))
    assert TaskFidelity.model_validate(board.summary()) == whole.summary()
    with pytest.raises(ValueError, match="of 2 classes"):
        tasks.Meter("head", "labels", plain, classes=2).add([2.0], [0.0], 1, (1, 1))


@pytest.mark.parametrize("spoilt", [False, True])
def test_differences_of_outputs(spoilt: bool) -> None:
    random = np.random.default_rng(1)
    expected = random.normal(size=100).astype(np.float32)
    actual = expected + random.normal(0, 0.1, 100).astype(np.float32)
    actual[3] = expected[3]
    if spoilt:
        actual[7] = np.nan
    one, other = flat(expected), flat(actual)
    assert plain.difference(one, other) == pytest.approx(vectorised.difference(expected, actual))
    assert plain.agreement(one, other) == vectorised.agreement(expected, actual) == 0.01
    assert plain.largest(one) == vectorised.largest(expected)
    assert plain.finite(other) == vectorised.finite(actual)
    assert plain.finite(other)[0] == 100 - spoilt
    assert plain.largest([0.0]) == vectorised.largest(np.zeros(1)) > 0


@pytest.mark.parametrize("count", [1, 2, 3, 100, 101])
def test_percentiles_are_numpy_s(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    for percent in (0, 1, 50, 99.5, 100):
        assert plain.percentile(values.tolist(), percent) == pytest.approx(np.percentile(values, percent), abs=1e-12)


def test_evidence_has_the_reports_words() -> None:
    assert {measurements.TARGET, measurements.HOST, measurements.SIMULATED} == {
        each.value for each in (Evidence.TARGET, Evidence.HOST, Evidence.SIMULATED)
    }
