"""What a table of candidates shows: one list, for Markdown and for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgec.records.reading import printable
from edgec.records.report import CandidateFigures
from edgec.report.decisions import Decided, decided

ABSENT = "-"


@dataclass(frozen=True)
class Column:
    """`cell` gives plain text, not escaped for anything. `rank`: the lower, the longer it stays as the terminal gets narrower."""

    title: str
    cell: Callable[[CandidateFigures], str]
    rank: int
    number: bool = True


def _ms(field: str) -> Callable[[CandidateFigures], str]:
    return lambda candidate: ABSENT if candidate.latency is None else f"{getattr(candidate.latency, field):.2f}"


def _cosine(field: str) -> Callable[[CandidateFigures], str]:
    return lambda candidate: cosine_cell(getattr(candidate.fidelity, field, None))


def cosine_cell(value: float | None, digits: int = 5) -> str:
    """Of a model without features there is none."""
    return ABSENT if value is None else f"{value:.{digits}f}"


def _cold(field: str, unit: float, digits: int) -> Callable[[CandidateFigures], str]:
    return lambda candidate: (
        ABSENT if candidate.cold_start is None else f"{getattr(candidate.cold_start, field) / unit:.{digits}f}"
    )


def _bound(candidate: CandidateFigures) -> str:
    """The range over boards, each in its fastest mode."""
    found = [bound.bound_ms for bound in candidate.bounds]
    return f">= {min(found):.2f}..{max(found):.2f}" if found else ABSENT


def _kernels(candidate: CandidateFigures) -> str:
    """The range over the GPUs that were compiled for."""
    return _range([each.kernels for each in candidate.compilations if each.accepted], "{:d}")


def _moved(candidate: CandidateFigures) -> str:
    return _range([each.moved_bytes / 1e6 for each in candidate.compilations if each.accepted], "{:.1f}")


def _range(figures: Sequence[float], form: str) -> str:
    ends = dict.fromkeys(form.format(figure) for figure in (min(figures), max(figures))) if figures else {}
    return "..".join(ends) or ABSENT


def _name(candidate: CandidateFigures) -> str:
    return printable(candidate.name) + (" (chosen)" if candidate.chosen else "")


def _runs(candidate: CandidateFigures) -> str:
    return ABSENT if candidate.latency is None else str(candidate.latency.iterations)


def _size(candidate: CandidateFigures) -> str:
    return ABSENT if candidate.size_bytes is None else f"{candidate.size_bytes / 1e6:.1f}"


def _executes(candidate: CandidateFigures) -> str:
    return printable(candidate.execution_precision) or ABSENT


def _evidence(candidate: CandidateFigures) -> str:
    measured = (candidate.latency, candidate.cold_start, candidate.fidelity, *candidate.compilations, *candidate.bounds)
    return ", ".join(dict.fromkeys(part.evidence.value for part in measured if part is not None)) or ABSENT


EVIDENCE = Column("evidence", _evidence, 15, number=False)
_LAST_COSINE = Column("cls", _cosine("cls_cosine_mean"), 8)
_HEADS_RANK = 3
"""Behind p50, patch mean and p99."""

COLUMNS = (
    Column("candidate", _name, 0, number=False),
    Column("p50 ms", _ms("p50_ms"), 1),
    Column("p90 ms", _ms("p90_ms"), 6),
    Column("p99 ms", _ms("p99_ms"), 3),
    Column("min ms", _ms("min_ms"), 10),
    Column("max ms", _ms("max_ms"), 7),
    Column("mean ms", _ms("mean_ms"), 9),
    Column("bound ms", _bound, 2),
    Column("kernels", _kernels, 5),
    Column("moved MB", _moved, 5),
    Column("runs", _runs, 12),
    Column("patch mean", _cosine("patch_cosine_mean"), 2),
    Column("patch p01", _cosine("patch_cosine_p01"), 4),
    _LAST_COSINE,
    Column("size MB", _size, 5),
    Column("load ms", _cold("load_ms", 1, 0), 13),
    Column("first ms", _cold("first_inference_ms", 1, 1), 14),
    Column("peak RSS MB", _cold("peak_rss_bytes", 1e6, 0), 11),
    Column("executes as", _executes, 16, number=False),
    EVIDENCE,
)


def head_columns(candidates: Sequence[CandidateFigures]) -> tuple[Column, ...]:
    """One for what each output of a head keeps."""

    def column(each: Decided) -> Column:
        return Column(each.title, lambda candidate: each.cell(candidate.fidelity), _HEADS_RANK)

    return tuple(column(each) for each in decided(candidate.fidelity for candidate in candidates))


def telling(candidates: Sequence[CandidateFigures]) -> tuple[Column, ...]:
    """The columns of which some candidate has something; those of heads stand behind the features' own."""
    behind = COLUMNS.index(_LAST_COSINE) + 1
    columns = (*COLUMNS[:behind], *head_columns(candidates), *COLUMNS[behind:])
    return tuple(column for column in columns if any(column.cell(candidate) != ABSENT for candidate in candidates))


def fitting(candidates: Sequence[CandidateFigures], width: int, gap: int) -> tuple[Column, ...]:
    """The columns that fit into `width` characters side by side, each `gap` wider than its longest cell; at least the first.
    Those of which no candidate has anything are left out."""
    kept: list[Column] = []
    columns = telling(candidates)
    for column in sorted(columns, key=lambda column: column.rank):
        width -= max(map(len, [column.title, *map(column.cell, candidates)])) + gap
        if width < -gap and kept:
            break
        kept.append(column)
    return tuple(column for column in columns if column in kept)
