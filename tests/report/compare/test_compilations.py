"""What a vendor's compiler made of both sides' graphs, and when a build should fail on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgec.errors import Regression
from edgec.records.compilation import Compilation
from edgec.records.report import Report
from edgec.report.compare.compilations import COUNTS
from edgec.report.compare.opening import open_side
from edgec.report.compare.rendering import rows, to_json, to_markdown, warnings
from edgec.report.compare.verdicts import Comparison, compare, gate
from edgec.report.markdown import to_markdown as as_markdown
from tests.report.compare.conftest import Made

BEFORE = Compilation(
    compiler="TensorRT-RTX 1.7.1.116",
    core="11.4",
    sm="86",
    boards=("jetson-orin-nano",),
    kernels=100,
    kernels_by_kind={"product": 48, "glue": 52},
    attentions=12,
    attentions_fused=12,
    products={"fp16": 25, "int8": 72},
    moved_bytes=60_000_000,
    constant_bytes=24_000_000,
    weights_bytes=24_000_000,
    activation_bytes=9_000_000,
    engine_bytes=30_000_000,
    compile_s=3.0,
)


def other(**changes: Any) -> Compilation:
    return BEFORE.model_copy(update=changes)


@pytest.fixture
def against(make: Made, tmp_path: Path) -> Any:
    """The report compiled so, and the same compiled otherwise, compared."""

    def against(*after: Compilation, before: tuple[Compilation, ...] = (BEFORE,)) -> Comparison:
        paths = []
        for name, compilations in (("before", before), ("after", after)):
            paths.append(tmp_path / f"{name}.json")
            paths[-1].write_text(make(candidate__compilations=compilations).to_json())
        return compare(*map(open_side, paths))

    return against


def alarms(comparison: Comparison, percent: float = 5) -> list[str]:
    return [text.split(": ", 1)[1] for text in gate([comparison], percent).alarms]


@pytest.mark.parametrize(
    ("changes", "percent", "expected"),
    [
        ({}, 0.1, []),
        ({"kernels": 105}, 5, []),
        ({"kernels": 106}, 5, ["kernels for SM 86 rose from 100 to 106"]),
        ({"kernels": 106}, 10, []),
        ({"moved_bytes": 64_000_000}, 5, ["bytes moved for SM 86 rose from 60.00 MB to 64.00 MB"]),
        ({"activation_bytes": 10_000_000}, 5, ["activation memory for SM 86 rose from 9.00 MB to 10.00 MB"]),
        ({"kernels": 50, "moved_bytes": 1, "compile_s": 300.0, "engine_bytes": 90_000_000}, 5, []),
        ({"refusal": "no", "kernels": 0}, 5, ["TensorRT-RTX 1.7.1.116 refuses it for SM 86: no"]),
    ],
)
def test_any_growth_beyond_the_percentage_is_a_regression(
    against: Any, changes: dict[str, Any], percent: float, expected: list[str]
) -> None:
    comparison = against(other(**changes))
    assert alarms(comparison, percent) == expected
    if expected:
        with pytest.raises(Regression):
            gate([comparison], percent).enforce()


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ((other(compiler="TensorRT-RTX 1.6.1.120", kernels=900),), "by TensorRT-RTX 1.7.1.116 and by TensorRT-RTX 1.6.1.120"),
        ((other(sm="120", kernels=900),), "was compiled for SM 86"),
        ((), "was compiled for SM 86"),
    ],
)
def test_counts_of_other_compilers_and_gpus_are_not_compared(against: Any, after: tuple[Compilation, ...], words: str) -> None:
    comparison = against(*after)
    assert alarms(comparison) == []
    assert any(words in text for text in gate([comparison], 5).blind)
    assert any(words in text for text in warnings([comparison.first, comparison.second], [comparison]))


def test_a_refusal_that_has_gone_is_no_regression(against: Any) -> None:
    assert alarms(against(BEFORE, before=(other(refusal="no", kernels=0),))) == []


def test_every_count_that_is_compared_is_one_of_a_compilation() -> None:
    assert set(COUNTS) <= set(Compilation.model_fields)


def test_both_sides_are_shown(against: Any) -> None:
    comparison = against(other(kernels=112, moved_bytes=66_400_000))
    sides = [comparison.first, comparison.second]
    cells = {title: values for title, values, _ in rows(sides).table}
    assert cells["kernels"] == ("100 (SM 86)", "112 (SM 86)")
    assert cells["moved MB"] == ("60.0 (SM 86)", "66.4 (SM 86)")
    text = to_markdown(sides, [comparison], gate([comparison], 5))
    assert "kernels for SM 86 rose from 100 to 112" in text
    document = json.loads(json.dumps(to_json(sides, [comparison], None)))
    changes = document["comparisons"][0]["compilations"]["changes"]
    assert {"sm": "86", "field": "kernels", "first": 100, "second": 112} in changes


def test_reports_of_what_nobody_compiled_show_nothing_of_it(against: Any) -> None:
    comparison = against(before=())
    assert "kernels" not in {title for title, *_ in rows([comparison.first, comparison.second]).table}
    assert warnings([comparison.first, comparison.second], [comparison]) == warnings([comparison.first], [])


def test_a_report_has_a_table_of_it_and_the_refusals_words(make: Made) -> None:
    report: Report = make(candidate__compilations=(BEFORE, other(sm="120", refusal="no | way", kernels=0)))
    text = as_markdown(report)
    assert "## Compiled on the host" in text
    assert "TensorRT-RTX 1.7.1.116 (TensorRT 11.4); compiled on host." in text
    assert "| 86 | 100 | 12/12 | fp16 25, int8 72 | 60.0 | 24.0 | 9.0 | 30.0 | 3.0 |" in text
    assert "| 120 | refused |" in text
    assert "SM 120: refused: no \\| way" in text
