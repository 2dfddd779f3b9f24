"""Runs as tables that stay narrow: a column for each run, a row for each fact or figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgec.onboard.figures import milliseconds, p99, per_second
from edgec.records.report import Report, Run
from edgec.report.cells import ABSENT, number
from edgec.report.sheets import Sheet, numbers, sheet, texts

_RUNS_A_TABLE = 3
"""A fourth run would make the table wider than a page."""


def run_sheets(report: Report) -> list[Sheet]:
    """All runs of all candidates, in their order: a run a column, and the rows in which some run has something."""
    runs = [(candidate.name, run) for candidate in report.candidates for run in candidate.runs]
    return [_sheet(runs[start : start + _RUNS_A_TABLE]) for start in range(0, len(runs), _RUNS_A_TABLE)]


def _sheet(runs: Sequence[tuple[str, Run]]) -> Sheet:
    rows = [(name, *(cell(run) for _, run in runs)) for name, cell in _CELLS]
    return sheet(texts("") + numbers(*(name for name, _ in runs)), [row for row in rows if set(row[1:]) != {ABSENT}])


def _frames(run: Run) -> str:
    return "back to back" if run.fps is None else f"camera at {run.fps:g} Hz, queue {run.queue}"


def _missed(run: Run) -> str:
    if run.missed is None or run.deadline_ms is None:
        return ABSENT
    return f"{run.missed} of {run.arrived} ({100 * run.missed / run.arrived:.3g} %; deadline {run.deadline_ms:.4g} ms)"


def _drift(run: Run) -> str:
    return ABSENT if run.drift is None else f"{run.drift.ratio:.3f} ({run.drift.ratio_low:.3f} to {run.drift.ratio_high:.3f})"


_CELLS: tuple[tuple[str, Callable[[Run], str]], ...] = (
    ("frames come", _frames),
    ("streams x threads", lambda run: f"{run.streams} x {run.threads}"),
    ("seconds", lambda run: f"{run.seconds:.1f}"),
    ("done a second", lambda run: per_second(run.throughput_fps)),
    ("missed", _missed),
    ("dropped", lambda run: ABSENT if run.fps is None else str(run.dropped)),
    ("latency p50 ms", lambda run: milliseconds(run.latency.p50_ms)),
    ("latency p99 ms", lambda run: p99(run.latency.p99_ms, run.latency.count)),
    ("latency max ms", lambda run: milliseconds(run.latency.max_ms)),
    ("wait p99 ms", lambda run: ABSENT if run.fps is None else p99(run.wait.p99_ms, run.wait.count)),
    ("service p50 ms", lambda run: milliseconds(run.service.p50_ms)),
    ("service p99 ms", lambda run: p99(run.service.p99_ms, run.service.count)),
    ("jitter ms", lambda run: number(run.jitter_ms, ".3f")),
    ("drift (95 %)", _drift),
    ("CPU ms a frame", lambda run: number(run.cpu_ms_per_frame)),
    ("mJ a frame", lambda run: number(run.energy_mj_per_frame, ".1f")),
    ("evidence", lambda run: run.evidence.value),
)
