from __future__ import annotations

import pytest

from edgec.records.report import Report
from edgec.report.cells import shortened
from edgec.report.decisions import budget_lines, has_features, head_measures, head_of, violation_lines, words
from edgec.report.grids import chosen_rows, fidelity_grids, heads_grid, iou_grids
from edgec.report.points import FLOOR, budgets_of, points_of
from tests.report.conftest import tasks, with_tasks


def test_each_kind_of_head_has_its_own_figures(headed: Report) -> None:
    told = {task.head: words(task, head_of(headed, task.head)) for task in tasks(agreement=0.975)}
    assert told == {
        "kind": "same class on 97.50% of the frames; mean margin 3.25, float32's 3.5; smallest 0.125",
        "floor": "mean IoU 0.98000 (lowest: wall 0.97000); 99.500% of the pixels alike",
        "far": "depth error 0.01 of the depth; RMSE 0.25",
        "grasp": "mean cosine 0.99950, smallest 0.98000",
    }
    assert [each.title for each in head_measures([headed.stages[0]])] == [
        "kind agrees",
        "floor mIoU",
        "far error",
        "grasp cosine",
    ]


def test_violations_of_budgets_are_named(headed: Report) -> None:
    assert violation_lines(headed) == (
        "openvino fp32 is beyond the budget: fidelity 0.98765 (at least 0.99)",
        "openvino int8 is beyond the budget: fidelity 0.98765 (at least 0.99)",
        "onnxruntime int8 is beyond the budget: fidelity 0.98765 (at least 0.99)",
    )
    line = violation_lines(with_tasks(headed, tasks(0.9, (0.9, 0.9), 0.5), features=False))[0]
    for said in ("kind: the top class agrees on 90.00%", "floor: mean IoU 0.9000", "far: relative depth error 0.5000"):
        assert said in line
    assert "cosine" not in line


def test_budgets_of_features_and_heads(headed: Report, bare: Report, report: Report) -> None:
    heads = ("agreement at least 98.00%", "mean IoU at least 0.97", "depth error at most 0.02")
    assert budget_lines(report) == ("fidelity at least 0.99",)
    assert budget_lines(headed) == ("fidelity at least 0.99", *heads)
    assert budget_lines(bare) == heads
    assert [has_features(each) for each in (report, headed, bare)] == [True, True, False]
    assert [lost for lost, _ in budgets_of(headed)] == [0.01]
    # Of two bounds that are the same loss, one line tells both.
    assert budgets_of(bare) == (
        (0.02, "budget: agreement at least 98.00%, depth error at most 0.02"),
        (0.03, "budget: mean IoU at least 0.97"),
        (0.01, "budget: mean cosine at least 0.99"),
    )
    assert {point.lost for point in points_of(bare)} == {0.02}, "its worst head's"
    perfect = with_tasks(bare, tasks(iou=(1.0, 1.0), error=0.0)[:3], features=False)
    assert {point.lost for point in points_of(perfect)} == {FLOOR}


def test_the_tables_have_every_head_stage_and_class(headed: Report) -> None:
    facts = heads_grid(headed)
    assert facts is not None
    assert [row[0] for row in facts.rows] == ["kind", "floor", "far", "grasp"]
    assert facts.rows[0][1] == "linear, gives a class a frame; reads patches; 2 classes: cat, dog"
    by_title = {grid.title: grid for grid in fidelity_grids(headed)}
    assert list(by_title) == ["Classes", "Masks", "Depths", "Vectors"]
    stages = [row[0] for row in by_title["Masks"].rows]
    assert stages == ["hub graph", "openvino fp32", "openvino int8 (chosen)", "onnxruntime int8"]
    assert by_title["Masks"].strong == (2,)
    assert by_title["Masks"].rows[0][2:6] == ("0.98000", "0.97000", "wall", "99.500%")
    (grid,) = iou_grids(headed, 30)
    assert [row[:2] for row in grid.rows] == [("floor", "0.99000"), ("wall", "0.97000"), ("thing", "-")]
    (few,) = iou_grids(headed, 1)
    assert [row[0] for row in few.rows] == ["wall"]
    assert few.title == "IoU by class, floor: the 1 lowest of 3 classes"
    assert [(each.output, budget) for each, _, budget in chosen_rows(headed)][3] == ("grasp", "mean cosine at least 0.99")


def test_a_report_without_heads_has_no_tables(report: Report) -> None:
    assert (heads_grid(report), fidelity_grids(report), iou_grids(report, 9), chosen_rows(report)) == (None, (), (), [])


@pytest.mark.parametrize(("name", "shown"), [("floor", "floor"), ("a" * 40, "aaaaa…aaaaaa"), ("left_camera_17", "left_…era_17")])
def test_titles_are_short(name: str, shown: str) -> None:
    assert shortened(name, 12, 5) == shown
    assert len(shown) <= 12
