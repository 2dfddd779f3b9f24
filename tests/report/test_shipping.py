from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgec.records.evidence import Evidence
from edgec.records.report import Bound, CandidateFigures, Report
from edgec.report.keeping_up import keeps_up
from edgec.report.names import precision_words
from edgec.report.shipping import chosen_of, load_line, next_line, ships_parts


def changed(report: Report, latency: dict[str, Any] | None = None, **changes: Any) -> tuple[Report, CandidateFigures]:
    chosen = chosen_of(report)
    assert chosen.latency is not None
    update = {**changes, **({"latency": chosen.latency.model_copy(update=latency)} if latency else {})}
    other = chosen.model_copy(update=update)
    return report.model_copy(update={"candidates": tuple(other if each is chosen else each for each in report.candidates)}), other


@pytest.mark.parametrize(
    ("changes", "verdict", "why"),
    [
        ({}, "yes", "the longest of 3 runs is 28.25 of 33.33 ms"),
        ({"latency": {"p99_ms": 30.0, "iterations": 100}}, "yes", "p99 is 30.00 of 33.33 ms"),
        ({"latency": {"p99_ms": 40.0, "iterations": 100}}, "no", "p99 is 40.00 of 33.33 ms; the median is short enough"),
        ({"latency": {"p99_ms": 40.0, "p50_ms": 35.0, "iterations": 100}}, "no", "p99 is 40.00 of 33.33 ms"),
        ({"latency": {"p99_ms": 40.0, "iterations": 100, "other_cores": 1.6}}, "not known", "measured under load"),
        ({"latency": {"p99_ms": 30.0, "iterations": 100, "other_cores": 1.6}}, "yes", "p99 is 30.00"),
        ({"latency": {"evidence": Evidence.EMULATED}}, "not known", "emulated"),
        ({"latency": None}, "not known", "no latency was measured"),
    ],
)
def test_thirty_frames_a_second(report: Report, changes: dict[str, Any], verdict: str, why: str) -> None:
    if changes.get("latency", {}) is None:
        result = keeps_up(report, chosen_of(report).model_copy(update={"latency": None}))
    else:
        result = keeps_up(*changed(report, **changes))
    assert result.verdict == verdict
    assert why in result.why


def test_data_sheets_can_say_no_and_another_machine_nothing(report: Report) -> None:
    bound = Bound(board="x", power_mode="15W", bound_ms=40, limited_by="memory")
    slow = chosen_of(report).model_copy(update={"latency": None, "bounds": (bound,)})
    assert keeps_up(report, slow).verdict == "no"
    assert keeps_up(report, slow, 10).verdict == "not known"
    elsewhere = report.model_copy(update={"host_is_target": False})
    assert keeps_up(elsewhere, chosen_of(elsewhere)).verdict == "not known"


def test_a_batch_has_the_time_of_all_its_frames(report: Report) -> None:
    four = report.model_copy(update={"input_shape": (4, 224, 224, 3)})
    assert "of 133.33 ms" in keeps_up(four, chosen_of(four)).why
    assert "158 frames a second" in "".join(text for text, _ in ships_parts(four))


def test_what_a_build_ends_with(report: Report, tmp_path: Path) -> None:
    text = "".join(text for text, _ in ships_parts(report))
    assert text == (
        "Ships: openvino int8, 25.25 ms = 39.6 frames a second at the median, measured on host; 30 Hz: yes (the longest of 3 "
        "runs is 28.25 of 33.33 ms); keeps 0.98765 of the features."
    )
    assert {meaning: piece for piece, meaning in ships_parts(report)}["chosen"] == "openvino int8"
    assert next_line(report, tmp_path / "a b.edgec") == f"Next: edgec run '{tmp_path}/a b.edgec' VIDEO_OR_FOLDER"
    assert load_line(report) == ""
    busy, _ = changed(report, latency={"other_cores": 1.6})
    assert "other work used 1.6 of 2 cores" in load_line(busy)
    assert load_line(busy).endswith("Measure again alone.")
    unmeasured = report.model_copy(
        update={"candidates": tuple(each.model_copy(update={"latency": None}) for each in report.candidates)}
    )
    assert "its board does that" in "".join(text for text, _ in ships_parts(unmeasured))
    assert next_line(unmeasured, Path("x.edgec")) == "Next: edgec deploy x.edgec USER@BOARD"


def test_exceptions_in_plain_words() -> None:
    assert precision_words("openvino-int8-but-last-6", "int8") == "int8, all but the last 6 products"
    assert precision_words("openvino-int8-mixed", "int8") == "int8"


def test_elsewhere_stands_beside_home(report: Report) -> None:
    home = chosen_of(report).fidelity
    assert home is not None
    dark = home.model_copy(update={"stage": "dark", "patch_cosine_p01": 0.91234})
    away, _ = changed(report, elsewhere=(home.model_copy(update={"stage": "bright"}), dark))
    assert "keeps 0.98765 of the features, elsewhere 0.91234 (dark)." in "".join(text for text, _ in ships_parts(away))
