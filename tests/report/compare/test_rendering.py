from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from edgec.report.compare.opening import open_side
from edgec.report.compare.rendering import rows, to_json, to_markdown, verdict_rows, warnings
from edgec.report.compare.verdicts import compare, gate
from tests.support.reports import samples

Written = Callable[..., Path]
HOSTILE = "<script>alert(1)</script> | [a](b)\x1b[2J\nnext"


def test_what_all_sides_share_is_shown_once(write: Written) -> None:
    sides = [open_side(write("before.json")), open_side(write("after.json", samples(1), candidate__precision="bf16"))]
    result = rows(sides)
    assert dict(result.same)["shape"] == "224x224"
    table = {title: cells for title, cells, _ in result.table}
    assert table["precision"] == ("int8 (f32)", "bf16 (f32)")
    assert table["worst 1 % of patches"] == ("0.98765", "0.98765")
    assert table["runs"] == ("400", "400")
    assert set(dict(result.same)) | set(table) >= {
        *("model", "target", "host", "shape", "batch", "precision", "runtime", "threads", "power mode", "evidence"),
        *("p50 ms", "p99 ms", "max ms", "memory MB", "size MB", "cls", "patches", "worst 1 % of patches"),
    }


def test_text_from_files_stays_text(write: Written) -> None:
    sides = [open_side(write("before.json", model__name=HOSTILE)), open_side(write("after.json", samples(1), target=HOSTILE))]
    text = to_markdown(sides, [compare(*sides)], None)
    assert "\x1b" not in text
    assert "<script" not in text
    assert "[a](b)" not in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") in (4, 6)


def test_markdown_of_a_gate(write: Written) -> None:
    sides = [open_side(write("before.json")), open_side(write("after.json", samples(1, ms=30)))]
    comparisons = [compare(*sides)]
    text = to_markdown(sides, comparisons, gate(comparisons, 5))
    assert "| slower |" in text
    assert "## Regressions of more than 5 %" in text
    assert "p50 is 50" in text
    assert text.endswith("\n")


def test_json_has_numbers_and_nulls(write: Written) -> None:
    sides = [
        open_side(write("before.json", samples(0, count=50))),
        open_side(write("after.json", samples(1, count=50), candidate__fidelity=None)),
    ]
    comparisons = [compare(*sides)]
    result = json.loads(json.dumps(to_json(sides, comparisons, gate(comparisons, 5)), allow_nan=False))
    (compared,) = result["comparisons"]
    assert compared["latency"]["p50"]["verdict"] == "no difference shown"
    assert set(compared["latency"]["p50"]["ratio"]) == {"value", "low", "high", "shown"}
    assert compared["latency"]["p99"]["ratio"] is None
    assert "too few runs" in compared["latency"]["p99"]["why_not"]
    assert compared["fidelity"] is None
    assert result["sides"][0]["p50_ms"] == sides[0].quantile_ms("p50", 0.5)
    assert result["gate"]["percent"] == 5
    assert len(result["gate"]["blind"]) == 3


def test_warnings(write: Written) -> None:
    sides = [
        open_side(write("before.json")),
        open_side(write("hot.json", latency__throttled=("thermal\x1b[2J",), latency__power_mode="15W")),
        open_side(write("other.json", model__random_weights=True, calibration="indoor")),
    ]
    comparisons = [compare(sides[0], other) for other in sides[1:]]
    text = "\n".join(warnings(sides, comparisons))
    assert "Not comparable: power mode is - in" in text
    assert "hot.json was throttled while it was measured: thermal\ufffd[2J." in text
    assert "other.json has random weights" in text
    assert "judged on different frames" in text
    assert "Of 4 comparisons" in text
    assert len(verdict_rows(comparisons)) == 4
