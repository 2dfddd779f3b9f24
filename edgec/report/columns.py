"""Tables of a report's candidates and stages: the same columns for Markdown, pages and the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgec.fidelity.metrics import worst, worst_of
from edgec.onboard.figures import per_second, rate
from edgec.records.fidelity import StageFidelity
from edgec.records.reading import printable
from edgec.records.report import CandidateFigures, Report
from edgec.report.cells import ABSENT, candidate_name, cosine_cell, likely_cell, megabytes, ms_cell, number, p99_cell
from edgec.report.decisions import HeadMeasure, head_measures
from edgec.report.sheets import Heading, Sheet, numbers, sheet, texts


@dataclass(frozen=True)
class Column:
    """`cell` gives plain text, not escaped for anything. `rank`: the lower, the longer it stays as the terminal gets narrower."""

    title: str
    cell: Callable[[CandidateFigures], str]
    rank: int
    number: bool = True

    @property
    def heading(self) -> Heading:
        """Its title, as `Sheet` has it."""
        return Heading(self.title, self.number)


def _ms(field: str) -> Callable[[CandidateFigures], str]:
    return lambda candidate: ms_cell(getattr(candidate.latency, field, None))


def _cosine(field: str) -> Callable[[CandidateFigures], str]:
    return lambda candidate: cosine_cell(getattr(candidate.fidelity, field, None))


def _elsewhere(candidate: CandidateFigures) -> str:
    lowest = worst_of(candidate.elsewhere)
    return ABSENT if lowest is None else cosine_cell(worst(lowest))


def _cold_ms(field: str, digits: int) -> Callable[[CandidateFigures], str]:
    return lambda candidate: number(getattr(candidate.cold_start, field, None), f".{digits}f")


def _likely(candidate: CandidateFigures) -> str:
    """The range over all boards, each in its fastest power mode."""
    ranges = [bound.likely_ms for bound in candidate.bounds if bound.likely_ms]
    return likely_cell((min(low for low, _ in ranges), max(high for _, high in ranges))) if ranges else ABSENT


def _kernels(candidate: CandidateFigures) -> str:
    """The range over the GPUs that were compiled for."""
    return _range([each.kernels for each in candidate.compilations if each.accepted], "d")


def _moved(candidate: CandidateFigures) -> str:
    return _range([each.moved_bytes / 1e6 for each in candidate.compilations if each.accepted], ".1f")


def _range(figures: Sequence[float], style: str) -> str:
    ends = dict.fromkeys(number(figure, style) for figure in (min(figures), max(figures))) if figures else {}
    return "..".join(ends) or ABSENT


def _runs(candidate: CandidateFigures) -> str:
    return ABSENT if candidate.latency is None else str(candidate.latency.iterations)


def _executes(candidate: CandidateFigures) -> str:
    return printable(candidate.execution_precision) or ABSENT


def _evidence(candidate: CandidateFigures) -> str:
    measured = (candidate.latency, candidate.cold_start, candidate.fidelity, *candidate.compilations, *candidate.bounds)
    return ", ".join(dict.fromkeys(part.evidence.value for part in measured if part is not None)) or ABSENT


RATE = "frames/s"
EVIDENCE = Column("evidence", _evidence, 15, number=False)
_LAST_COSINE = Column("cls", _cosine("cls_cosine_mean"), 8)
ELSEWHERE_TITLE = "elsewhere"
_HEADS_RANK = 3
"""Behind p50, patch mean and p99."""

COLUMNS = (
    Column("candidate", candidate_name, 0, number=False),
    Column("p50 ms", _ms("p50_ms"), 1),
    Column("p90 ms", _ms("p90_ms"), 6),
    Column("p99 ms", p99_cell, 3),
    Column("min ms", _ms("min_ms"), 10),
    Column("max ms", _ms("max_ms"), 7),
    Column("mean ms", _ms("mean_ms"), 9),
    Column("likely ms", _likely, 2),
    Column("kernels", _kernels, 5),
    Column("moved MB", _moved, 5),
    Column("runs", _runs, 12),
    Column("patches", _cosine("patch_cosine_mean"), 2),
    Column("worst 1 %", _cosine("patch_cosine_p01"), 4),
    Column(ELSEWHERE_TITLE, _elsewhere, 4),
    _LAST_COSINE,
    Column("size MB", lambda candidate: megabytes(candidate.size_bytes), 5),
    Column("load ms", _cold_ms("load_ms", 0), 13),
    Column("first ms", _cold_ms("first_inference_ms", 1), 14),
    Column("peak RSS MB", lambda candidate: megabytes(getattr(candidate.cold_start, "peak_rss_bytes", None), 0), 11),
    Column("executes as", _executes, 16, number=False),
    EVIDENCE,
)


def head_columns(candidates: Sequence[CandidateFigures]) -> tuple[Column, ...]:
    """One for each output of a head: how much of float32's decisions it keeps."""

    def column(head: HeadMeasure) -> Column:
        return Column(head.title, lambda candidate: head.cell(candidate.fidelity), _HEADS_RANK)

    return tuple(column(head) for head in head_measures(candidate.fidelity for candidate in candidates))


def _rate_column(batch: int) -> Column:
    def cell(candidate: CandidateFigures) -> str:
        return ABSENT if candidate.latency is None else per_second(rate(candidate.latency.p50_ms, batch))

    return Column(RATE, cell, 1)


def informative(report: Report) -> tuple[Column, ...]:
    """The columns in which some candidate has something; frames a second follow the median, heads the features."""
    candidates = report.candidates
    behind = COLUMNS.index(_LAST_COSINE) + 1
    columns = (
        *COLUMNS[:2],
        _rate_column(report.input_shape[0]),
        *COLUMNS[2:behind],
        *head_columns(candidates),
        *COLUMNS[behind:],
    )
    return tuple(column for column in columns if any(column.cell(candidate) != ABSENT for candidate in candidates))


def fitting(report: Report, width: int, gap: int) -> tuple[Column, ...]:
    """The columns that fit into `width` characters side by side, each `gap` wider than its longest cell; at least the first.
    Columns in which no candidate has anything are left out."""
    fitted: list[Column] = []
    columns, candidates = informative(report), report.candidates
    for column in sorted(columns, key=lambda column: column.rank):
        width -= max(map(len, [column.title, *map(column.cell, candidates)])) + gap
        if width < -gap and fitted:
            break
        fitted.append(column)
    return tuple(column for column in columns if column in fitted)


def candidates_sheet(report: Report, columns: Sequence[Column] | None = None) -> Sheet:
    """A row a candidate, with these columns or, by default, with every column in which some candidate has something."""
    columns = informative(report) if columns is None else columns
    rows = [[column.cell(candidate) for column in columns] for candidate in report.candidates]
    chosen = [index for index, candidate in enumerate(report.candidates) if candidate.chosen]
    return sheet([column.heading for column in columns], rows, chosen)


def bounds_sheet(report: Report) -> Sheet | None:
    """In what range each board's time is likely to lie, and what it cannot be below by the data sheets; None where neither is
    known. Two digits: an estimate that shows more claims more."""
    rows = [
        [
            *(candidate.name, bound.board, bound.power_mode, likely_cell(bound.likely_ms)),
            *(f"{bound.bound_ms:.2g}", bound.limited_by, bound.evidence.value),
        ]
        for candidate in report.candidates
        for bound in candidate.bounds
    ]
    headings = (*texts("candidate", "board", "power mode"), *numbers("likely ms", "never below ms"))
    return sheet((*headings, *texts("limited by", "evidence")), rows) if rows else None


def elsewhere_sheet(report: Report) -> Sheet | None:
    """A row a candidate, a column for each condition away from home: the first percentile over the patches of its frames. None
    where nothing was measured there."""
    names = tuple(dict.fromkeys(part.stage for candidate in report.candidates for part in candidate.elsewhere))
    rows: list[list[str]] = []
    strong: list[int] = []
    for candidate in report.candidates:
        figures = {part.stage: part.patch_cosine_p01 for part in candidate.elsewhere}
        if figures:
            strong += [len(rows)] if candidate.chosen else []
            rows.append([candidate_name(candidate), *(cosine_cell(figures.get(name)) for name in names)])
    return sheet(texts("candidate") + numbers(*names), rows, strong) if rows else None


def stages_sheet(stages: Sequence[tuple[str, StageFidelity]], most_heads: int | None = None) -> Sheet:
    """A row for each stage or candidate, by name; a column for each of the first `most_heads` outputs of heads, or for all."""
    heads = head_measures(stage for _, stage in stages)[:most_heads]
    rows = [
        [
            name,
            *(cosine_cell(value) for value in (stage.cls_cosine_mean, stage.patch_cosine_mean, stage.patch_cosine_p01)),
            *(head.cell(stage) for head in heads),
            str(stage.frames),
            stage.evidence.value,
        ]
        for name, stage in stages
    ]
    figures = numbers("cls", "patches", "worst 1 %", *(head.title for head in heads), "frames")
    return sheet(texts("stage") + figures + texts("evidence"), rows)
