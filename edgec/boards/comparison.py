"""One artefact on several boards: a row for each board and variant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgec.onboard.figures import milliseconds, p99
from edgec.records.report import CandidateFigures, Report
from edgec.report.cells import ABSENT, cosine_cell

TITLES = ("board", "runtime", "power mode", "variant", "p50 ms", "p90 ms", "p99 ms", "worst 1 %", "evidence")
NUMBERS = frozenset(TITLES[4:8])
_WIDEST = 60
"""Characters of a name that comes from a board."""


@dataclass(frozen=True)
class Row:
    """`chosen`: whether this variant is the fastest on its board. Cells are plain text, as many as `TITLES`."""

    cells: tuple[str, ...]
    chosen: bool


def compare(boards: Sequence[tuple[str, Report | None]]) -> list[Row]:
    """A row for each variant that was measured, by board; a board without a report has one row that says so."""
    rows = []
    for name, report in boards:
        if report is None:
            rows.append(Row((name, ABSENT, ABSENT, "failed", *[ABSENT] * 5), chosen=False))
            continue
        measured = [candidate for candidate in report.candidates if candidate.latency is not None]
        rows += [Row((name, _runtime(report, candidate), *_figures(candidate)), candidate.chosen) for candidate in measured]
    return rows


def _runtime(report: Report, candidate: CandidateFigures) -> str:
    version = report.host.versions.get(candidate.runtime)
    return f"{candidate.runtime} {version}"[:_WIDEST] if version else ABSENT


def _figures(candidate: CandidateFigures) -> tuple[str, ...]:
    latency, fidelity = candidate.latency, candidate.fidelity
    assert latency is not None
    times = (*map(milliseconds, (latency.p50_ms, latency.p90_ms)), p99(latency.p99_ms, latency.iterations))
    worst = cosine_cell(fidelity.patch_cosine_p01 if fidelity else None)
    name = candidate.name[:_WIDEST] + (" (fastest)" if candidate.chosen else "")
    evidence = latency.evidence.value + (", throttled" if latency.throttled else "")
    return ((latency.power_mode or ABSENT)[:_WIDEST], name, *times, worst, evidence)
