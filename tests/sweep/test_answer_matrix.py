"""One matrix: model and size against board."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from edgec.report.table import terminal_table
from edgec.sweep import rendering
from edgec.sweep.answer_matrix import answer_matrix, note_lines
from edgec.sweep.answers import answers_of, in_order
from edgec.sweep.schema import Cell, SweepReport
from tests.sweep.test_answers import bounds, candidate, fidelity_of, latency, place


def swept(folder: Path, *cells: Cell) -> SweepReport:
    answers = in_order(cells, [answer for cell in cells for answer in answers_of(folder, cell, 30, 0.99)])
    return SweepReport(edgec_version="0", created="now", fps=30, min_fidelity=0.99, cells=cells, answers=answers)


@pytest.fixture
def report(tmp_path: Path) -> SweepReport:
    good = fidelity_of(0.995)

    def cell(name: str, target: str, size: int, **more: object) -> Cell:
        figures = {key: more.pop(key) for key in ("latency", "bounds", "fidelity") if key in more}
        made = place(tmp_path, candidate(**{"fidelity": good, **figures}), name=name, size=size, **more)
        return made.model_copy(update={"target": target, "checkpoint": name.rstrip("0123456789")})

    return swept(
        tmp_path,
        cell("small224", "cpu", 224, latency=latency(10, 12.34)),
        cell("small480", "cpu", 480, latency=latency(40, 45.6)),
        cell("large224", "cpu", 224, latency=latency(10, 40, other_cores=1.5)),
        cell("small225", "jetson", 224, bounds=bounds(4, 50)),
        cell("drawn224", "cpu", 224, latency=latency(10, 12), random=True),
        cell("lossy224", "cpu", 224, latency=latency(10, 12), fidelity=fidelity_of(0.98)),
    )


def test_a_row_a_model_and_size_a_column_a_board(report: SweepReport) -> None:
    matrix = answer_matrix(report)
    assert [heading.title for heading in matrix.sheet.headings] == ["model", "size", "cpu", "board0", "board1"]
    rows = {row[:2]: row[2:] for row in matrix.sheet.rows}
    assert rows["small", "224x224"] == ("yes, 12.34 ms", "not known (2)", "no (3)")
    assert rows["small", "480x480"] == ("no, 45.60 ms", "-", "-")
    assert rows["large", "224x224"] == ("not known? (1)", "-", "-")
    assert rows["drawn", "224x224"][0] == "keeps up, fidelity unknown (4)"
    assert rows["lossy", "224x224"][0] == "no (5)"
    assert note_lines(matrix)[1:3] == ["(2) at least 4 ms (estimated), not measured", "(3) at least 50 ms (estimated)"]
    assert "other work disturbed it" in matrix.notes[0]
    assert matrix.notes[3].startswith("keeps up, fidelity unknown: p99 12.00 ms")
    assert matrix.notes[4].startswith("fidelity 0.98000")
    assert matrix.sheet.strong == (0,)


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_a_terminal(report: SweepReport, width: int) -> None:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(terminal_table(answer_matrix(report).sheet, width=width))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    assert "no room" not in text
    assert set(text.split()) <= {word for row in answer_matrix(report).sheet.rows for cell in row for word in cell.split()} | {
        *("model", "size", "cpu", "board0", "board1")
    }


def test_markdown_begins_with_it(report: SweepReport) -> None:
    text = rendering.to_markdown(report)
    assert text.index("| model | size | cpu | board0 | board1 |") < text.index("## Every answer") < text.index("| answer |")
    assert "not known" in rendering.verdict_counts(report)
