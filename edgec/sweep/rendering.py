"""A sweep as rows of plain text, and as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from edgec.records.reading import printable
from edgec.report.columns import ABSENT
from edgec.report.markdown import escape, markdown_table
from edgec.sweep.answers import ORDER
from edgec.sweep.schema import Answer, Cell, SweepReport

METHOD = (
    "A yes needs a p99, measured back to back on what the target promises, that is no longer than the time between two frames; "
    "`edgec bench --fps` looks at arrivals and deadlines themselves. Bounds come from data sheets: they can say no, never yes. "
    "Worst cosine: the smallest of CLS mean, patch mean and first percentile of patches. No other cell worked on the machine "
    "while one was measured."
)
ANSWER_TITLES = ("answer", "checkpoint", "size", "board", "asked", "ships", "worst cosine", "p50 ms", "p99 ms", "why")
ANSWER_NUMBERS = (6, 7, 8)
LADDER_TITLES = ("size", "ships", "worst cosine", "p50 ms", "p99 ms", "bound ms", "peak RSS MB", "model MB", "evidence")
LADDER_NUMBERS = (2, 3, 4, 5, 6, 7)
LADDER_MEANING = "fidelity, latency and memory against the input's size"


@dataclass(frozen=True)
class Ladder:
    """Of one checkpoint, board and precision, a row a size, the smallest first."""

    title: str
    rows: tuple[tuple[str, ...], ...]


def question(report: SweepReport) -> str:
    """What the sweep asks, as a sentence."""
    return f"Which model, at which size, on which board, meets {report.fps:g} Hz within {report.min_fidelity:g} fidelity?"


def verdict_counts(report: SweepReport) -> str:
    """How many answers there are of each verdict, and how many cells are not built yet."""
    verdicts = Counter(answer.verdict for answer in report.answers)
    counts = [f"{verdicts[verdict]} {verdict}" for verdict in ORDER if verdicts[verdict]]
    return ", ".join([*counts, *([f"{len(report.unfinished)} not built yet"] if report.unfinished else [])])


def answer_rows(report: SweepReport) -> list[tuple[str, ...]]:
    """As `ANSWER_TITLES` name the cells."""
    cells = {cell.name: cell for cell in report.cells}
    rows: list[tuple[str, ...]] = []
    for answer in report.answers:
        cell = cells[answer.cell]
        rows.append(
            (
                answer.verdict,
                printable(cell.checkpoint),
                _size(cell),
                printable(answer.board),
                cell.precision,
                printable(answer.candidate) or ABSENT,
                f"{answer.fidelity.worst_cosine:.4f}" if answer.fidelity else ABSENT,
                f"{answer.latency.p50_ms:.2f}" if answer.latency else ABSENT,
                f"{answer.latency.p99_ms:.2f}" if answer.latency else ABSENT,
                printable(answer.why) + (" (doubtful)" if answer.doubts else ""),
            )
        )
    return rows


def ladders(report: SweepReport) -> list[Ladder]:
    """Where a checkpoint was built for one board in one precision at several sizes."""
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
            result.append(Ladder(title, tuple(_step(cell, answer) for cell, answer in pairs)))
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
    cells = {cell.name: cell for cell in report.cells}
    reports = [f"- [{escape(name)}]({name}.edgec/report.md)" for name, cell in cells.items() if cell.state == "done"]
    parts = [
        f"# {escape(question(report))}",
        f"{verdict_counts(report)}. Made by edgec {escape(report.edgec_version)}, {escape(report.created)}.",
        _table(ANSWER_TITLES, answer_rows(report), ANSWER_NUMBERS),
        METHOD,
        *(["## Not built yet", _bullets(report.unfinished)] if report.unfinished else []),
        *(["## Failed", _bullets(failures(report))] if failures(report) else []),
        *(["## Doubtful", _bullets(doubts(report))] if doubts(report) else []),
        *([f"## Resolution ladders: {LADDER_MEANING}"] if ladders(report) else []),
    ]
    for ladder in ladders(report):
        parts += [f"### {escape(ladder.title)}", _table(LADDER_TITLES, ladder.rows, LADDER_NUMBERS)]
    if reports:
        parts += ["## Reports", "\n".join(reports)]
    return "\n\n".join(parts) + "\n"


def _step(cell: Cell, answer: Answer) -> tuple[str, ...]:
    parts = (answer.fidelity, answer.latency, answer.bound, answer.memory)
    return (
        _size(cell),
        printable(answer.candidate) or ABSENT,
        f"{answer.fidelity.worst_cosine:.4f}" if answer.fidelity else ABSENT,
        f"{answer.latency.p50_ms:.2f}" if answer.latency else ABSENT,
        f"{answer.latency.p99_ms:.2f}" if answer.latency else ABSENT,
        f">= {answer.bound.bound_ms:.3g}" if answer.bound else ABSENT,
        f"{answer.memory.peak_rss_bytes / 1e6:.0f}" if answer.memory else ABSENT,
        f"{answer.size_bytes / 1e6:.1f}" if answer.size_bytes is not None else ABSENT,
        ", ".join(dict.fromkeys(part.evidence.value for part in parts if part is not None)) or ABSENT,
    )


def _size(cell: Cell) -> str:
    return f"{cell.size[0]}x{cell.size[1]}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> str:
    body = [[escape(cell) for cell in row] for row in rows]
    return markdown_table(titles, body, [index in numbers for index in range(len(titles))])


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)
