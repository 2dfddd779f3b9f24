from __future__ import annotations

import io

import pytest
from rich.console import Console

from edgec.records.report import Report
from edgec.report.columns import informative
from edgec.report.markdown import to_markdown
from edgec.report.table import candidates_table, heads_table


def printed(report: Report, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(candidates_table(report, width=width))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", [48, 60, 80, 100, 120, 160, 270])
def test_nothing_is_wrapped_or_cut(report: Report, width: int) -> None:
    lines = printed(report, width)
    # Lines below say what kinds of evidence the figures are where that column has no room, and which other columns have none.
    assert len(lines) >= (6 if width == 270 else 8)
    assert max(map(len, lines)) <= width
    assert "25.25" in lines[2]
    assert lines[2].startswith("openvino int8 (chosen)")
    assert "…" not in "".join(lines)
    assert lines[5].strip() == "openvino bf16: this CPU has no bf16"
    said = " ".join(" ".join(lines[6:]).split())
    assert said == "" if width == 270 else said.startswith(f"figures: measured on host no room at {width} columns for ")
    titles = {column.title for column in informative(report)} - {"evidence"}
    named = set(said.split(" columns for ")[1].split(", ")) if said else set()
    assert {title for title in titles if title in lines[0]} | named == titles


def test_eighty_columns_hold_what_matters_most(report: Report) -> None:
    head = printed(report, 80)[0]
    for title in ("candidate", "p50 ms", "frames/s", "patches", "worst 1 %", "size MB"):
        assert title in head


def test_a_wide_terminal_shows_all(report: Report) -> None:
    head = printed(report, 270)[0]
    assert head.split() == " ".join(column.title for column in informative(report)).split()


def test_the_width_is_the_terminals(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    narrow = len(candidates_table(report).columns)
    monkeypatch.setenv("COLUMNS", "270")
    assert narrow < len(candidates_table(report).columns) == len(informative(report))


def test_a_name_too_long_for_the_terminal_folds_and_the_figures_stay(report: Report) -> None:
    long = report.candidates[1].model_copy(update={"name": "[bold]" + "x" * 100})
    lines = printed(report.model_copy(update={"candidates": (long,)}), 40)
    end = next(index for index, line in enumerate(lines) if "figures:" in line)
    assert "".join(line.strip() for line in lines[1:end]) == "[bold]" + "x" * 100 + " (chosen)"


def test_fidelity_that_rests_on_frames_which_calibration_knew_says_so(report: Report) -> None:
    repeated = report.model_copy(update={"repeated_frames": 14})
    for width in (80, 120):
        text = " ".join(" ".join(printed(repeated, width)).split())
        assert "14 of 40 validation frames nearly repeat calibration frames: this fidelity says little about other places" in text
        assert "nearly repeat" not in " ".join(printed(report.model_copy(update={"repeated_frames": 0}), width))
    markdown = to_markdown(repeated)
    assert "judged on 40 frames that it never saw, of which 14 nearly repeat calibration frames" in markdown
    stages = markdown.partition("## Fidelity by stage")[2]
    assert "14 of 40 validation frames nearly repeat calibration frames" in stages


def test_a_report_without_candidates_has_an_empty_table(report: Report) -> None:
    assert candidates_table(report.model_copy(update={"candidates": ()}), width=80).row_count == 0


@pytest.mark.parametrize("width", [60, 80, 270])
def test_heads_have_their_columns(headed: Report, width: int) -> None:
    lines = printed(headed, width)
    assert max(map(len, lines)) <= width
    shown = [title for title in ("frames/s", "kind agrees", "floor mIoU", "far error", "grasp cosine") if title in lines[0]]
    assert len(shown) == {60: 1, 80: 3, 270: 5}[width]
    assert "openvino int8 is beyond the budget: fidelity" in " ".join(" ".join(lines).split())


def test_without_features_heads_take_their_place(bare: Report) -> None:
    lines = printed(bare, 80)
    assert "patch" not in lines[0]
    for title in ("p50 ms", "frames/s", "kind agrees", "floor mIoU"):
        assert title in lines[0]


def test_the_table_of_heads_fits_eighty_columns(headed: Report, report: Report) -> None:
    assert heads_table(report) is None
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(heads_table(headed))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 80
    said = " ".join(text.split())
    for part in ("agreement at least 98.00%", "mean IoU 0.98000", "lowest: wall", "depth error at most 0.02"):
        assert part in said
