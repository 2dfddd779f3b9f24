"""A sweep's answer as one matrix: model and size against board, yes, no or not known, and why."""

from __future__ import annotations

from dataclasses import dataclass

from edgec.onboard.figures import ABSENT, RUNS_FOR_P99, milliseconds
from edgec.report.sheets import Sheet, sheet, texts
from edgec.sweep.schema import Answer, Cell, SweepReport

_WORDS = {"yes": "yes", "no": "no", "cannot tell": "not known", "failed": "failed"}
KEEPS_UP = "keeps up"
"""How the reason begins of a model with random weights that is fast enough: of its fidelity nothing can be known."""


@dataclass(frozen=True)
class Matrix:
    """`notes` are the reasons, which cells name by their numbers, from 1."""

    sheet: Sheet
    notes: tuple[str, ...]


def answer_matrix(report: SweepReport) -> Matrix:
    """A row for each model, size and, where there are several, precision; a column a board, in the order of the cells."""
    cells = {cell.name: cell for cell in report.cells}
    placed = [(cells[answer.cell], answer) for answer in report.answers]
    order = [cell.name for cell in report.cells]
    placed.sort(key=lambda pair: order.index(pair[0].name))
    boards = list(dict.fromkeys(answer.board for _, answer in placed))
    several = len({cell.precision for cell, _ in placed}) > 1
    notes: dict[str, int] = {}
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for cell, answer in placed:
        rows.setdefault(_row(cell), {})[answer.board] = _cell(answer, notes)
    table = [
        (checkpoint, size, *([precision] if several else []), *(row.get(board, ABSENT) for board in boards))
        for (checkpoint, size, precision), row in rows.items()
    ]
    headings = texts("model", "size", *(["asked"] if several else []), *boards)
    strong = [index for index, row in enumerate(table) if any(cell.startswith("yes") for cell in row)]
    return Matrix(sheet(headings, table, strong), tuple(notes))


def note_lines(matrix: Matrix) -> list[str]:
    """The reasons with their numbers."""
    return [f"({number}) {text}" for number, text in enumerate(matrix.notes, 1)]


def _row(cell: Cell) -> tuple[str, str, str]:
    return cell.checkpoint, f"{cell.size[0]}x{cell.size[1]}", cell.precision


def _cell(answer: Answer, notes: dict[str, int]) -> str:
    """The verdict with the time that decides it; else with the number of its reason."""
    latency, word = answer.latency, _WORDS[answer.verdict]
    doubtful = "?" if answer.doubts else ""
    timed = latency is not None and ("ms (" in answer.why or "ms on" in answer.why)
    if answer.verdict == "yes" and latency is not None:
        return f"yes{doubtful}, {milliseconds(latency.p99_ms)} ms"
    if answer.verdict == "no" and timed and latency is not None and latency.iterations >= RUNS_FOR_P99:
        return f"no{doubtful}, {milliseconds(latency.p99_ms)} ms"
    number = notes.setdefault(answer.why, len(notes) + 1)
    if answer.why.startswith(KEEPS_UP):
        word = "keeps up, fidelity unknown"
    return f"{word}{doubtful} ({number})"
