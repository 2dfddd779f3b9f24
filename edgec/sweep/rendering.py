"""A sweep as rows of plain text, and as Markdown."""

from __future__ import annotations

from collections import Counter

from edgec.onboard.figures import p99
from edgec.records.reading import printable
from edgec.report.cells import ABSENT, cosine_cell, megabytes, ms_cell
from edgec.report.markdown import bullets, escape, markdown_table
from edgec.report.sheets import Sheet, numbers, sheet, texts
from edgec.sweep.answer_matrix import answer_matrix, note_lines
from edgec.sweep.answers import ORDER
from edgec.sweep.schema import Answer, Cell, SweepReport

METHOD = (
    "A yes needs a p99, measured back to back on what the target promises, that is no longer than the time between two frames; "
    "`edgec bench --fps` looks at arrivals and deadlines themselves. Bounds come from data sheets: they can say no, never yes. "
    "Not known: not measured there, or measured under load. "
    "Fidelity: the lowest cosine of CLS mean, patch mean and the worst 1 % of patches. No other cell worked on the machine "
    "while one was measured."
)
_ANSWERS = (
    texts("answer", "checkpoint", "size", "board", "asked", "ships") + numbers("fidelity", "p50 ms", "p99 ms") + texts("why")
)
_LADDER = (
    texts("size", "ships") + numbers("fidelity", "p50 ms", "p99 ms", "bound ms", "peak RSS MB", "model MB") + texts("evidence")
)
_WORDS = {"cannot tell": "not known"}
"""What people are told of a verdict that sweep.json calls otherwise."""
LADDER_MEANING = "fidelity, latency and memory against the input's size"


def question(report: SweepReport) -> str:
    """What the sweep asks, as a sentence."""
    return f"Which model, at which size, on which board, meets {report.fps:g} Hz within {report.min_fidelity:g} fidelity?"


def verdict_counts(report: SweepReport) -> str:
    """How many answers there are of each verdict, and how many cells are not built yet."""
    verdicts = Counter(answer.verdict for answer in report.answers)
    counts = [f"{verdicts[verdict]} {_WORDS.get(verdict, verdict)}" for verdict in ORDER if verdicts[verdict]]
    return ", ".join([*counts, *([f"{len(report.unfinished)} not built yet"] if report.unfinished else [])])


def answer_sheet(report: SweepReport) -> Sheet:
    """A row an answer, in the report's order."""
    cells = {cell.name: cell for cell in report.cells}
    rows = [
        (
            _WORDS.get(answer.verdict, answer.verdict),
            cell.checkpoint,
            _size(cell),
            answer.board,
            cell.precision,
            *_figures(answer),
            answer.why + (" (doubtful)" if answer.doubts else ""),
        )
        for answer in report.answers
        for cell in (cells[answer.cell],)
    ]
    return sheet(_ANSWERS, rows)


def ladders(report: SweepReport) -> list[Sheet]:
    """A table for each checkpoint that was built for one board in one precision at several sizes: a row a size, smallest
    first."""
    cells = {cell.name: cell for cell in report.cells}
    groups: dict[tuple[str, str, str], list[tuple[Cell, Answer]]] = {}
    for answer in report.answers:
        cell = cells[answer.cell]
        if cell.state == "done":
            groups.setdefault((cell.checkpoint, answer.board, cell.precision), []).append((cell, answer))
    result = []
    order = [cell.name for cell in report.cells]
    for (checkpoint, board, precision), pairs in sorted(groups.items(), key=lambda item: order.index(item[1][0][0].name)):
        if len({cell.size for cell, _ in pairs}) > 1:
            pairs.sort(key=lambda pair: (pair[0].size[0] * pair[0].size[1], pair[0].size))
            title = f"{printable(checkpoint)} on {printable(board)}, {precision}"
            result.append(sheet(_LADDER, [_step(cell, answer) for cell, answer in pairs], title=title))
    return result


def failures(report: SweepReport) -> list[str]:
    """A line for each cell that failed, with its exit code and its log."""
    return [
        f"{cell.name}: {printable(cell.error)} (exit code {cell.exit_code}" + (f"; log: {cell.log})" if cell.log else ")")
        for cell in report.cells
        if cell.state == "failed"
    ]


def doubts(report: SweepReport) -> list[str]:
    """A line for each reason to doubt an answer."""
    return [f"{answer.cell} on {printable(answer.board)}: {doubt}" for answer in report.answers for doubt in answer.doubts]


def to_markdown(report: SweepReport) -> str:
    """Text in it comes from files and stays text."""
    cells, matrix = {cell.name: cell for cell in report.cells}, answer_matrix(report)
    links = [f"[{escape(name)}]({name}.edgec/report.md)" for name, cell in cells.items() if cell.state == "done"]
    parts = [
        f"# {escape(question(report))}",
        f"{verdict_counts(report)}. Made by edgec {escape(report.edgec_version)}, {escape(report.created)}.",
        *([markdown_table(matrix.sheet), bullets(map(escape, note_lines(matrix))), "## Every answer"] if report.answers else []),
        markdown_table(answer_sheet(report)),
        METHOD,
        *(["## Not built yet", bullets(map(escape, report.unfinished))] if report.unfinished else []),
        *(["## Failed", bullets(map(escape, failures(report)))] if failures(report) else []),
        *(["## Doubtful", bullets(map(escape, doubts(report)))] if doubts(report) else []),
        *([f"## Resolution ladders: {LADDER_MEANING}"] if ladders(report) else []),
    ]
    for ladder in ladders(report):
        parts += [f"### {escape(ladder.title)}", markdown_table(ladder)]
    if links:
        parts += ["## Reports", bullets(links)]
    return "\n\n".join(parts) + "\n"


def _figures(answer: Answer) -> tuple[str, ...]:
    """What ships, its fidelity, and its latency."""
    latency = answer.latency
    return (
        answer.candidate or ABSENT,
        cosine_cell(answer.fidelity.worst_cosine if answer.fidelity else None),
        ms_cell(latency.p50_ms if latency else None),
        p99(latency.p99_ms, latency.iterations) if latency else ABSENT,
    )


def _step(cell: Cell, answer: Answer) -> tuple[str, ...]:
    parts = (answer.fidelity, answer.latency, answer.bound, answer.memory)
    return (
        _size(cell),
        *_figures(answer),
        f">= {answer.bound.bound_ms:.2g}" if answer.bound else ABSENT,
        megabytes(answer.memory.peak_rss_bytes if answer.memory else None, 0),
        megabytes(answer.size_bytes),
        ", ".join(dict.fromkeys(part.evidence.value for part in parts if part is not None)) or ABSENT,
    )


def _size(cell: Cell) -> str:
    return f"{cell.size[0]}x{cell.size[1]}"
