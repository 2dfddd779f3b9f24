"""What heads keep, side by side, and when a build should fail on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgec.records.fidelity import TaskFidelity
from edgec.records.report import Report
from edgec.report.compare.opening import open_side
from edgec.report.compare.rendering import rows, to_json, to_markdown, warnings
from edgec.report.compare.verdicts import Comparison, compare, gate
from tests.report.conftest import tasks, with_tasks


@pytest.fixture
def against(headed: Report, tmp_path: Path) -> Any:
    """The report with heads, and the same with other tasks, other heads, other budgets, compared."""

    def against(result: tuple[TaskFidelity, ...], first: dict[str, Any] | None = None, **second: Any) -> Comparison:
        paths = []
        for name, report in (
            ("before", headed.model_copy(update=first or {})),
            ("after", with_tasks(headed, result, features=second.pop("features", True)).model_copy(update=second)),
        ):
            paths.append(tmp_path / f"{name}.json")
            paths[-1].write_text(report.to_json())
        return compare(*map(open_side, paths))

    return against


def fidelity_alarms(comparison: Comparison, percent: float = 5) -> list[str]:
    return [said.split(": ", 1)[1] for said in gate([comparison], percent).alarms]


@pytest.mark.parametrize(
    ("changed", "percent", "alarm"),
    [
        ({}, 5, None),
        # The budget lets 0.03 of the mean IoU go: five percent of it are 0.0015.
        ({"iou": (0.99, 0.968, None)}, 5, None),
        ({"iou": (0.99, 0.966, None)}, 5, "floor: mean IoU fell from 0.98000 to 0.97800; 0.00150 is allowed"),
        ({"iou": (0.99, 0.966, None)}, 10, None),
        ({"iou": (1.0, 1.0, None)}, 5, None),
        # Of 0.02: 0.001.
        ({"error": 0.0109}, 5, None),
        ({"error": 0.0112}, 5, "far: depth error rose from 0.01 to 0.0112; 0.00100 is allowed"),
        ({"error": 0.001}, 5, None),
        # One frame of 40 is 0.025, and beyond the budget of 0.98 all the same.
        ({"agreement": 0.975}, 5, "kind: agreement fell from 100.00% to 97.50%; 0.10% is allowed"),
    ],
)
def test_a_head_may_lose_a_share_of_its_budget(against: Any, changed: dict[str, Any], percent: float, alarm: str | None) -> None:
    assert fidelity_alarms(against(tasks(**changed)), percent) == ([] if alarm is None else [alarm])


def test_one_frame_of_another_class_within_the_budget_is_no_regression(against: Any) -> None:
    for budget in ({"min_agreement": 0.95}, {"min_agreement": None}):
        assert fidelity_alarms(against(tasks(agreement=0.975), first=budget)) == []
        (alarm,) = fidelity_alarms(against(tasks(agreement=0.95), first=budget))
        assert alarm == "kind: agreement fell from 100.00% to 95.00%; 2.50% is allowed"


def test_without_budgets_the_defaults_of_models_without_features_hold(against: Any) -> None:
    none = {"min_agreement": None, "min_iou": None, "max_depth_error": None}
    (alarm,) = fidelity_alarms(against(tasks(iou=(0.99, 0.966, None)), first=none))
    assert alarm.startswith("floor: mean IoU fell")


def test_a_head_that_one_side_alone_has_is_named_and_not_gated(against: Any, headed: Report) -> None:
    result = against(tasks()[1:], heads=headed.heads[1:])
    (said,) = result.tasks.alone
    assert said.startswith("kind: agreement is of ")
    assert said.endswith("before.json alone")
    gated = gate([result], 5)
    assert gated.alarms == ()
    assert any("not comparable: kind: agreement" in line for line in gated.blind)
    assert f"Not comparable: {said}." in warnings([result.first, result.second], [result])


def test_another_head_of_the_same_name_is_compared_with_a_warning(against: Any, headed: Report) -> None:
    other = headed.heads[1].model_copy(update={"sha256": "f" * 64})
    result = against(tasks(), heads=(headed.heads[0], other, *headed.heads[2:]))
    (warning,) = [text for text in warnings([result.first, result.second], [result]) if "not the same" in text]
    assert warning.startswith("The head floor is not the same in ")
    assert warning.endswith("its file's SHA-256 is ffffffffffff, not 222222222222.")


def test_features_that_one_side_does_not_give_are_not_gated(against: Any) -> None:
    result = against(tasks(), features=False)
    assert result.fidelity == {}
    gated = gate([result], 5)
    assert gated.alarms == ()
    assert any("features are not gated: a side gives none" in line for line in gated.blind)


def test_heads_stand_side_by_side_in_every_format(against: Any) -> None:
    result = against(tasks(agreement=0.95), features=False)
    sides = (result.first, result.second)
    table = {title: cells for title, cells, _ in rows(sides).table}
    assert table["kind: agreement"] == ("100.00%", "95.00%")
    assert table["far: depth error"] == ("0.01", "0.01")
    assert table["worst 1 % of patches"] == ("0.98765", "-")
    assert "| kind: agreement | 100.00% | 95.00% |" in to_markdown(sides, [result], None)
    (comparison,) = to_json(sides, [result], None)["comparisons"]
    assert comparison["heads"][0] == {"output": "kind", "figure": "agreement", "first": 1.0, "second": 0.95}
