"""Runs as tables that stay narrow: a run a column, what there is to say of it in rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgec.records.reading import printable
from edgec.records.report import Report, Run
from edgec.report.columns import ABSENT

BESIDE = 3
"""Runs in one table: a fourth would not fit beside them on a page."""


@dataclass(frozen=True)
class RunTable:
    """Plain text, not escaped for anything: a title a run; rows of a name and a cell a run, without those that say nothing."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def run_tables(report: Report) -> list[RunTable]:
    """All runs of all candidates, in their order."""
    runs = [(printable(candidate.name), run) for candidate in report.candidates for run in candidate.runs]
    return [_table(runs[start : start + BESIDE]) for start in range(0, len(runs), BESIDE)]


def _table(runs: Sequence[tuple[str, Run]]) -> RunTable:
    rows = [(name, tuple(cell(run) for _, run in runs)) for name, cell in _CELLS]
    return RunTable(tuple(name for name, _ in runs), tuple(row for row in rows if set(row[1]) != {ABSENT}))


def _frames(run: Run) -> str:
    return "back to back" if run.fps is None else f"camera at {run.fps:g} Hz, queue {run.queue}"


def _missed(run: Run) -> str:
    if run.missed is None or run.deadline_ms is None:
        return ABSENT
    return f"{run.missed} of {run.arrived} ({100 * run.missed / run.arrived:.3g} %; deadline {run.deadline_ms:.4g} ms)"


def _drift(run: Run) -> str:
    return ABSENT if run.drift is None else f"{run.drift.ratio:.3f} ({run.drift.ratio_low:.3f} to {run.drift.ratio_high:.3f})"


def _figure(value: float | None, digits: int) -> str:
    return ABSENT if value is None else f"{value:.{digits}f}"


_CELLS: tuple[tuple[str, Callable[[Run], str]], ...] = (
    ("frames come", _frames),
    ("streams x threads", lambda run: f"{run.streams} x {run.threads}"),
    ("seconds", lambda run: f"{run.seconds:.1f}"),
    ("done a second", lambda run: f"{run.throughput_fps:.1f}"),
    ("missed", _missed),
    ("dropped", lambda run: ABSENT if run.fps is None else str(run.dropped)),
    ("latency p50 ms", lambda run: f"{run.latency.p50_ms:.2f}"),
    ("latency p99 ms", lambda run: f"{run.latency.p99_ms:.2f}"),
    ("latency max ms", lambda run: f"{run.latency.max_ms:.2f}"),
    ("wait p99 ms", lambda run: ABSENT if run.fps is None else f"{run.wait.p99_ms:.2f}"),
    ("service p50 ms", lambda run: f"{run.service.p50_ms:.2f}"),
    ("service p99 ms", lambda run: f"{run.service.p99_ms:.2f}"),
    ("jitter ms", lambda run: _figure(run.jitter_ms, 3)),
    ("drift (95 %)", _drift),
    ("CPU ms a frame", lambda run: _figure(run.cpu_ms_per_frame, 2)),
    ("mJ a frame", lambda run: _figure(run.energy_mj_per_frame, 1)),
    ("evidence", lambda run: run.evidence.value),
)
