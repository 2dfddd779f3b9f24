"""The verdict that boards activate by: what the user asked for is in it, and so is what no sound engine computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.onboard import documents, plain, vectorised
from edgec.onboard.documents import Tensor
from edgec.onboard.judging import GATES, Judge, Verdict, batches, golden_problem, shape_problems

RANDOM = np.random.default_rng(0)
TENSORS = (
    Tensor("cls", "float32", (1, 8)),
    Tensor("patches", "float32", (1, 2, 3, 8)),
    Tensor("floor", "int32", (1, 4, 6), "labels", 3),
    Tensor("grasp", "float32", (1, 5), "values"),
)
LOOSE = {"floor": {"agreement": 0.0}, "grasp": {"cosine": -1.0, "difference": 1e6}}


def frames() -> dict[str, Any]:
    drawn = {each.name: RANDOM.normal(size=(3, *each.shape[1:])).astype(np.float32) for each in TENSORS}
    return drawn | {"floor": RANDOM.integers(0, 3, (3, 4, 6)).astype(np.int32)}


def judged(expected: dict[str, Any], actual: dict[str, Any], **given: Any) -> Verdict:
    """By both kinds of arithmetic, which agree."""
    verdicts = []
    for arithmetic in (vectorised, plain):

        def rows(values: dict[str, Any], index: int, flat: bool = arithmetic is plain) -> dict[str, Any]:
            return {name: each[index].ravel().tolist() if flat else each[index] for name, each in values.items()}

        judge = Judge(
            TENSORS,
            arithmetic,
            **{"gate": dict.fromkeys(GATES, 0.9), "budget": {}, "bounds": LOOSE, "largest": dict.fromkeys(LOOSE, 1.0), **given},
        )
        for index in range(3):
            judge.add(index, rows(expected, index), rows(actual, index), rows(expected, index))
        verdicts.append(judge.verdict())
    assert verdicts[0].problems == verdicts[1].problems
    return verdicts[0]


def test_equal_outputs_pass() -> None:
    expected = frames()
    verdict = judged(expected, expected, bounds={"floor": {"agreement": 1.0}, "grasp": {"cosine": 0.999, "difference": 0.0}})
    assert verdict.problems == []
    assert verdict.figures == dict.fromkeys(GATES, 1.0)
    assert [task["head"] for task in verdict.tasks] == ["floor", "grasp"]
    assert verdict.frames == 3


def test_the_user_s_budget_for_heads_is_a_gate() -> None:
    expected = frames()
    other = dict(expected, floor=expected["floor"].copy(), grasp=-expected["grasp"])
    other["floor"][:, 0, :3] = (other["floor"][:, 0, :3] + 1) % 3
    assert judged(expected, other).problems == [], "what nobody bounds"
    said = documents.budget({"budget": {"min_fidelity": 0.9, "min_agreement": None, "min_iou": 0.95, "max_depth_error": 0.1}})
    assert said == {"min_iou": 0.95, "max_depth_error": 0.1, "min_cosine": 0.9}
    iou, cosine = judged(expected, other, budget=said).problems
    assert iou.startswith("floor: mean IoU 0.")
    assert cosine == "grasp: mean cosine -1.00000 (at least 0.9)"


def spoilt(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    expected = frames()
    actual = {each: values.copy() for each, values in expected.items()}
    if name == "garbage":
        actual["patches"] = frames()["patches"]
    elif name == "nan":
        actual["patches"][1, 0, 0, 3] = np.nan
    elif name == "dead":
        actual["cls"][2] = 0.5
    elif name == "blind":
        actual = {each: np.repeat(values[:1], 3, axis=0) for each, values in expected.items()}
    elif name == "labels":
        actual["floor"][0] = (actual["floor"][0] + 1) % 3
    elif name == "far":
        actual["grasp"][2, 0] += 3
    return expected, actual


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("garbage", "patch_cosine_mean is "),
        ("nan", "frame 1: patches holds 1 values that are NaN or infinite, of 48"),
        ("dead", "frame 2: cls is constant: all of its 8 values are 0.5"),
        ("blind", "is the same for frames 0 and 1"),
        ("labels", "frame 0: floor has 0.00% of the expected labels, and must have at least 99.00%"),
        ("far", "frame 2: grasp differs by 3 of its largest value; at most 0.1 is allowed"),
    ],
)
def test_outputs_that_no_working_engine_computes(name: str, words: str) -> None:
    bounds = {"floor": {"agreement": 0.99}, "grasp": {"cosine": -1.0, "difference": 0.1}}
    assert any(words in problem for problem in judged(*spoilt(name), bounds=bounds).problems)


def test_outputs_that_do_not_fit() -> None:
    forms = {"cls": ((1, 8), "float32"), "patches": ((1, 2, 8), None)}
    assert shape_problems(forms, {"cls": ((1, 8), "float32"), "patches": ((1, 2, 8), "float32")}) == []
    assert shape_problems(forms, {"cls": ((1, 8), "float16"), "patches": ((1, 4), None)}) == [
        "cls is float16, not float32",
        "patches has shape (1, 4), not (1, 2, 8)",
    ]
    assert shape_problems(forms, {"\x1b[2J": ((1,), None)})[0] == "there is no output cls; there are  [2J"


def test_recorded_outputs_must_be_possible() -> None:
    labels = Tensor("floor", "int32", (1, 2), "labels", 3)
    assert golden_problem(labels, np.array([[0, 2]], np.int32), vectorised) == ""
    assert golden_problem(labels, [0, 3], plain) == "floor holds labels from 0 to 3"
    assert golden_problem(TENSORS[0], [0.0, float("nan")], plain) == "cls holds NaN or Inf"


def test_a_last_batch_that_is_not_full_repeats_its_last_frame() -> None:
    assert batches(5, 2) == [[0, 1], [2, 3], [4, 4]]
    assert batches(1, 3) == [[0, 0, 0]]


@pytest.mark.parametrize("value", [float("nan"), True, "0.9", -1, [0.9], 1e400], ids=str)
def test_a_budget_without_numbers_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="should be"):
        documents.budget({"budget": {"min_iou": value}})
