"""Reading a report that may come from any machine, or refusing it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from edgec.errors import ArtefactError
from edgec.report.records import printable, read_record
from edgec.report.schema import UPGRADES, Latency, Report

_SLACK_MS = 1e-3
"""Samples and what was computed of them are rounded apart."""
_SHOWN = 8


def read_report(path: Path) -> Report:
    """`report.json` at `path`, of this schema version or an older one.

    Raises `ArtefactError` for what `read_record` refuses, and for figures that contradict each other: percentiles out of order,
    samples of another number or range than the summary says, times of nothing, a chosen candidate that does not exist.
    """
    report = read_record(path, Report, "report", UPGRADES)
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
    for candidate in report.candidates:
        if candidate.latency is not None:
            yield from (f"{printable(candidate.name)}: {problem}" for problem in _unordered(candidate.latency))


def _unordered(latency: Latency) -> Iterator[str]:
    order = ("min_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms")
    for low, high in [*pairwise(order), ("min_ms", "mean_ms"), ("mean_ms", "max_ms")]:
        if getattr(latency, low) > getattr(latency, high) + _SLACK_MS:
            yield f"{low} {getattr(latency, low):g} is above {high} {getattr(latency, high):g}"
    if latency.min_ms <= 0:
        yield "min_ms is 0: nothing runs in no time"
    samples = latency.samples_ms
    if samples and min(samples) <= 0:
        yield f"a sample is {min(samples):g} ms"
    if latency.blocks and sum(block.runs for block in latency.blocks) != latency.iterations:
        yield f"blocks of {sum(block.runs for block in latency.blocks)} runs in all, {latency.iterations} iterations"
    if samples and len(samples) != latency.iterations:
        yield f"{len(samples)} samples of {latency.iterations} iterations"
    if samples and max(abs(min(samples) - latency.min_ms), abs(max(samples) - latency.max_ms)) > _SLACK_MS:
        yield f"samples go from {min(samples):g} to {max(samples):g} ms, min_ms is {latency.min_ms:g}, max_ms {latency.max_ms:g}"
    elif samples:
        ordered = sorted(samples)
        for name, share in (("p50_ms", 50), ("p90_ms", 90), ("p99_ms", 99)):
            found, said = ordered[math.ceil(share * len(ordered) / 100) - 1], getattr(latency, name)
            if abs(found - said) > _SLACK_MS:
                yield f"{name} of the samples is {found:g} ms, not {said:g}"
