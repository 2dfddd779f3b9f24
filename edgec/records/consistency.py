"""Reading a report that may come from any machine, or refusing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from edgec.errors import ArtefactError
from edgec.onboard.statistics import summary
from edgec.records.fidelity import Output, StageFidelity, TaskFidelity
from edgec.records.measurements import is_measurements, report_of
from edgec.records.reading import printable, read_record
from edgec.records.report import UPGRADES, CandidateFigures, Latency, Report, Run, Spread
from edgec.records.runs import figures

_SLACK_MS = 1e-3
"""Samples and the figures computed from them are rounded separately."""
_FIGURES = ("min_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms")
"""In ascending order, of latencies and spreads."""
_SHOWN = 8
_SLACK = 2e-6
"""Of shares and cosines, which have six decimals."""
_PARTS: Final[Mapping[Output, str]] = {
    "scores": "classes",
    "labels": "masks",
    "logits": "masks",
    "depth": "depths",
    "values": "values",
}
"""What is measured of each kind of output."""


def read_report(path: Path) -> Report:
    """`report.json` at `path`, of this schema version or an older one; or what a board measured, as the report that it makes.

    Raises `ArtefactError` for what `read_record` refuses, and for figures that contradict each other: percentiles out of order,
    samples whose number or range differs from the summary's, times of 0, a chosen candidate that does not exist, fidelity
    without any figure, or of heads that the report does not name.
    """
    report = report_of(path) if is_measurements(path) else read_record(path, Report, "report", UPGRADES)
    problems = list(_contradictions(report))
    if problems:
        raise ArtefactError(
            f"The report at {path} contradicts itself.",
            evidence=problems[:_SHOWN],
            remedy="it was edited or damaged: measure again, or copy it again from where it is whole",
        )
    return report


def _contradictions(report: Report) -> Iterator[str]:
    if min(report.input_shape) < 1 or report.input_shape[-1] != 3:
        yield f"input_shape is {report.input_shape}, not [N, H, W, 3]"
    names = [candidate.name for candidate in report.candidates]
    if len(set(names)) != len(names):
        yield "two candidates have one name"
    chosen = [candidate.name for candidate in report.candidates if candidate.chosen]
    if chosen != [report.chosen]:
        yield f"chosen is {printable(report.chosen)!r}, but the candidates so marked are {[printable(name) for name in chosen]}"
    outputs = [output for head in report.heads for output in head.outputs]
    yield from (f"two outputs of heads are called {printable(name)!r}" for name in _duplicates(outputs))
    yield from (f"two heads are called {printable(name)!r}" for name in _duplicates([head.name for head in report.heads]))
    for stage in report.stages:
        yield from (f"{printable(stage.stage)}: {problem}" for problem in _fidelity_problems(stage, outputs))
    for candidate in report.candidates:
        problems = [*_candidate_problems(candidate, report.input_shape[0])]
        problems += _fidelity_problems(candidate.fidelity, outputs) if candidate.fidelity else ()
        yield from (f"{printable(candidate.name)}: {problem}" for problem in problems)


def _fidelity_problems(fidelity: StageFidelity, outputs: Sequence[str]) -> Iterator[str]:
    if len(fidelity.cosines) not in (0, 3):
        yield f"{len(fidelity.cosines)} of three cosines"
    if not fidelity.cosines and not fidelity.tasks:
        yield "fidelity without a figure: neither cosines nor heads"
    yield from (f"{printable(name)} is judged twice" for name in _duplicates([task.head for task in fidelity.tasks]))
    for task in fidelity.tasks:
        name = printable(task.head)
        if task.head not in outputs:
            yield f"{name} is judged, but no head of the report has such an output"
        parts = [part for part in dict.fromkeys(_PARTS.values()) if getattr(task, part) is not None]
        if parts != [_PARTS[task.output]]:
            yield f"{name} gives {task.output}, and what is judged of it is {', '.join(parts) or 'nothing'}"
        yield from (f"{name}: {problem}" for problem in _task_problems(task))


def _task_problems(task: TaskFidelity) -> Iterator[str]:
    if task.classes and task.classes.smallest_margin > task.classes.margin_shipped + 1e-5 * abs(task.classes.margin_shipped):
        yield "its smallest margin is above the mean"
    if task.values and task.values.cosine_min > task.values.cosine_mean + _SLACK:
        yield "its smallest cosine is above the mean"
    if task.masks:
        known = [value for value in task.masks.iou if value is not None]
        if not known or not 0 <= min(known) <= max(known) <= 1:
            yield "its IoU by class is not from 0 to 1"
        elif abs(sum(known) / len(known) - task.masks.mean_iou) > _SLACK:
            yield f"its mean IoU is {sum(known) / len(known):.6f} by class, not {task.masks.mean_iou:.6f}"


def _duplicates(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _candidate_problems(candidate: CandidateFigures, batch: int) -> Iterator[str]:
    if candidate.latency is not None:
        yield from _latency_problems(candidate.latency)
    if candidate.after_idle is not None and min(candidate.after_idle.samples_ms) <= 0:
        yield "a run after idle took no time"
    for number, run in enumerate(candidate.runs):
        yield from (f"runs[{number}]: {problem}" for problem in (*_run_problems(run, batch), *_column_problems(run)))


def _latency_problems(latency: Latency) -> Iterator[str]:
    yield from _out_of_order(latency)
    if latency.min_ms <= 0:
        yield "min_ms is 0: every run takes some time"
    samples = latency.samples_ms
    if samples and min(samples) <= 0:
        yield f"a sample is {min(samples):g} ms"
    if latency.blocks and sum(block.runs for block in latency.blocks) != latency.iterations:
        yield f"blocks of {sum(block.runs for block in latency.blocks)} runs in all, {latency.iterations} iterations"
    if (numbers := {block.process for block in latency.blocks}) != {*range(len(numbers))}:
        yield f"blocks of processes {', '.join(map(str, sorted(numbers)[:_SHOWN]))}: they count from 0"
    if samples and len(samples) != latency.iterations:
        yield f"{len(samples)} samples of {latency.iterations} iterations"
    if samples and max(abs(min(samples) - latency.min_ms), abs(max(samples) - latency.max_ms)) > _SLACK_MS:
        yield f"samples go from {min(samples):g} to {max(samples):g} ms, min_ms is {latency.min_ms:g}, max_ms {latency.max_ms:g}"
    elif samples:
        expected = summary(samples)
        for name in ("p50_ms", "p90_ms", "p99_ms"):
            if abs(getattr(expected, name) - getattr(latency, name)) > _SLACK_MS:
                yield f"{name} of the samples is {getattr(expected, name):g} ms, not {getattr(latency, name):g}"


def _out_of_order(figures: Latency | Spread) -> Iterator[str]:
    for low, high in [*pairwise(_FIGURES), ("min_ms", "mean_ms"), ("mean_ms", "max_ms")]:
        if getattr(figures, low) > getattr(figures, high) + _SLACK_MS:
            yield f"{low} {getattr(figures, low):g} is above {high} {getattr(figures, high):g}"


def _run_problems(run: Run, batch: int) -> Iterator[str]:
    """Contradictions that show without the columns."""
    if (run.mode == "camera") != (run.fps is not None):
        yield f"fps is {run.fps}, mode {run.mode}"
    if run.mode != "camera" and (run.queue is not None or run.dropped or run.missed):
        yield "frames that wait, or miss something, without a camera"
    done = run.arrived - run.dropped
    spreads = {"latency": run.latency, "wait": run.wait, "service": run.service, "interval": run.interval}
    for name, spread in spreads.items():
        if spread is None:
            continue
        if name != "interval" and spread.count != done:
            yield f"{name} is of {spread.count} frames; {run.arrived} arrived and {run.dropped} were dropped"
        yield from (f"{name}: {problem}" for problem in _out_of_order(spread))
    if run.interval is not None and not 0 < run.interval.count <= done - 1:
        yield f"{run.interval.count} intervals between {done} frames"
    if (run.missed is None) != (run.deadline_ms is None):
        yield "a deadline without a count of misses, or the other way round"
    elif run.missed is not None and not run.dropped <= run.missed <= run.arrived:
        yield f"{run.missed} missed, of {run.arrived} that arrived and {run.dropped} that were dropped"
    expected = done * batch / run.seconds
    if abs(run.throughput_fps - expected) > 0.01 * expected:
        yield f"throughput is {run.throughput_fps:g} frames a second, not {done} x {batch} in {run.seconds:g} s, {expected:g}"
    drift = run.drift
    if drift is not None:
        if not drift.ratio_low <= drift.ratio <= drift.ratio_high:
            yield f"drift {drift.ratio:g} is outside of its interval"
        if abs(drift.ratio - drift.last_p50_ms / drift.first_p50_ms) > 1e-3 * drift.ratio:
            yield f"drift is {drift.ratio:g}, not {drift.last_p50_ms:g} / {drift.first_p50_ms:g}"
    times = [reading.at_ms for reading in run.readings]
    if times != sorted(times):
        yield "readings out of order"


def _column_problems(run: Run) -> Iterator[str]:
    columns = (run.arrived_ms, run.started_ms, run.done_ms, run.stream)
    lengths = {len(column) for column in columns}
    if lengths == {0}:
        return
    if lengths != {run.arrived - run.dropped}:
        yield f"columns of {sorted(lengths)} rows; {run.arrived} frames arrived and {run.dropped} were dropped"
        return
    if any(low > high for low, high in pairwise(run.done_ms)):
        yield "done_ms goes backwards"
        return
    if not all(a <= s <= d for a, s, d in zip(run.arrived_ms, run.started_ms, run.done_ms, strict=True)):
        yield "a frame was started before it arrived, or done before it was started"
        return
    if min(run.stream) < 0 or max(run.stream) >= run.streams:
        yield f"frames of streams {min(run.stream)} to {max(run.stream)}, but there are {run.streams} streams"
    computed = figures(*columns, run.deadline_ms)
    for name in ("latency", "wait", "service", "interval"):
        if _differ(getattr(run, name), getattr(computed, name)):
            yield f"{name} is not what the columns say"
    if run.missed is not None and computed.late is not None and computed.late + run.dropped != run.missed:
        yield f"missed is {run.missed}; by the columns it is {computed.late + run.dropped}"
    if abs(computed.seconds - run.seconds) > _SLACK_MS or (
        run.jitter_ms is not None and abs((computed.jitter_ms or 0.0) - run.jitter_ms) > _SLACK_MS
    ):
        yield "seconds or jitter_ms is not what the columns say"


def _differ(reported: Spread | None, computed: Spread | None) -> bool:
    if reported is None or computed is None:
        return reported is not computed
    return reported.count != computed.count or any(
        abs(getattr(reported, name) - getattr(computed, name)) > _SLACK_MS for name in (*_FIGURES, "mean_ms")
    )
