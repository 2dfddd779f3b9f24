"""Tables that only pages show. The template escapes every cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgec.fidelity.metrics import worst
from edgec.onboard.figures import milliseconds, p99, per_second, rate
from edgec.records.report import CandidateFigures, Latency, Report, Run
from edgec.report.cells import ABSENT, candidate_name, cosine_cell, mark_chosen, megabytes, ms_cell, number, p99_cell
from edgec.report.columns import EVIDENCE, RATE, candidates_sheet, stages_sheet
from edgec.report.decisions import HeadMeasure, head_measures, judged_stages
from edgec.report.facts import size_of
from edgec.report.html.series import RATES_HZ, above
from edgec.report.html.subjects import Subject, candidates_of
from edgec.report.sheets import Sheet, numbers, sheet, texts

_MOST_HEADS = 12
"""Columns of a table."""


def overview(subjects: Sequence[Subject]) -> Sheet:
    """A row a candidate, in the order of the reports; a column a head's output, for those that come first."""
    heads = head_measures(each.fidelity for subject in subjects for each in subject.report.candidates)[:_MOST_HEADS]
    listed = [
        (f"{number}.{index}", subject, candidate)
        for number, subject in enumerate(subjects, 1)
        for index, candidate in enumerate(candidates_of(subject.report), 1)
    ]
    rows = [
        [
            label, subject.name, candidate_name(candidate), subject.report.target, size_of(subject.report),
            *_headline(subject.report, candidate, heads), subject.report.model.name, subject.report.model.arch,
            str(subject.report.input_shape[0]),
        ]
        for label, subject, candidate in listed
    ]  # fmt: skip
    # What people choose by comes first: the rest of a table this wide is out of sight.
    headings = (
        *numbers("no."), *texts("report", "candidate", "target", "size"),
        *numbers(RATE, "p50 ms", "p99 ms", "fidelity", *(head.title for head in heads)), *texts("evidence"),
        *numbers("max ms", "cls", "patches", "worst 1 %", "size MB", "peak RSS MB"), *texts("model", "arch"),
        *numbers("batch"),
    )  # fmt: skip
    return sheet(headings, rows, [index for index, (_, _, candidate) in enumerate(listed) if candidate.chosen])


def _headline(report: Report, candidate: CandidateFigures, heads: Sequence[HeadMeasure]) -> list[str]:
    latency, fidelity = candidate.latency, candidate.fidelity
    features = fidelity if fidelity is not None and fidelity.cosines else None
    return [
        ABSENT if latency is None else per_second(rate(latency.p50_ms, report.input_shape[0])),
        ms_cell(getattr(latency, "p50_ms", None)),
        p99_cell(candidate),
        cosine_cell(None if features is None else worst(features)),
        *(head.cell(fidelity) for head in heads),
        EVIDENCE.cell(candidate),
        ms_cell(getattr(latency, "max_ms", None)),
        *(cosine_cell(getattr(features, field, None)) for field in ("cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01")),
        megabytes(candidate.size_bytes),
        megabytes(getattr(candidate.cold_start, "peak_rss_bytes", None), 0),
    ]


def candidates(report: Report) -> Sheet:
    """A row a candidate, with its number, by which charts name it."""
    table = candidates_sheet(report)
    rows = [(str(index), *row) for index, row in enumerate(table.rows, 1)]
    return replace(table, headings=numbers("no.") + table.headings, rows=tuple(rows))


def deadlines(report: Report) -> Sheet | None:
    """By candidate and rate the share of back-to-back runs that took longer than a frame's time."""
    sampled = [(each, each.latency) for each in candidates_of(report) if each.latency and each.latency.samples_ms]
    rows = [
        [
            candidate.name, *(_share(above(latency.samples_ms, 1000 / rate)) for rate in RATES_HZ), str(latency.iterations),
            f"{latency.evidence.value}, back to back",
        ]
        for candidate, latency in sampled
    ]  # fmt: skip
    headings = (
        texts("candidate") + numbers(*(f"{rate} Hz ({1000 / rate:.1f} ms)" for rate in RATES_HZ), "runs") + texts("evidence")
    )
    return sheet(headings, rows, [index for index, (each, _) in enumerate(sampled) if each.chosen]) if rows else None


def _share(value: float) -> str:
    return f"{100 * value:.4g} %"


def measured(report: Report) -> Sheet | None:
    """How each latency was measured."""
    rows = [
        [
            mark_chosen(candidate.name, chosen=False),
            *map(milliseconds, (each.min_ms, each.p50_ms, each.p90_ms)), p99(each.p99_ms, each.iterations),
            *map(milliseconds, (each.max_ms, each.mean_ms)),
            str(each.iterations), str(each.warmup), str(each.threads), number(each.other_cores),
            number(candidate.cpu_ms_per_frame, ".1f"), _circumstances(each), each.evidence.value,
        ]
        for candidate in report.candidates
        if (each := candidate.latency) is not None
    ]  # fmt: skip
    figures = numbers(
        "min ms", "p50 ms", "p90 ms", "p99 ms", "max ms", "mean ms", "runs", "warm-up runs", "threads", "other work, cores",
        "CPU ms a frame",
    )  # fmt: skip
    return sheet(texts("candidate") + figures + texts("circumstances", "evidence"), rows) if rows else None


def _circumstances(latency: Latency) -> str:
    parts = [
        *([f"power mode {latency.power_mode}"] if latency.power_mode else []),
        *({True: ["GPU clock fixed"], False: ["GPU clock free"], None: []}[latency.gpu_clock_fixed]),
        *(f"{zone} {before:.0f} to {after:.0f} °C" for zone, (before, after) in latency.temperatures_c.items()),
        *(f"{rail} {mean / 1000:.2f} W mean, {most / 1000:.2f} W most" for rail, (mean, most) in latency.power_mw.items()),
        *(f"throttled: {reason}" for reason in latency.throttled),
        *([" ".join(latency.flags)] if latency.flags else []),
    ]
    return "; ".join(parts) or ABSENT


def runs(report: Report) -> Sheet | None:
    """Everything that ran on a camera's clock, and other sustained runs."""
    rows = [[candidate.name, *_run(run)] for candidate in report.candidates for run in candidate.runs]
    before = numbers(
        "streams", "threads", "seconds", "frames", "dropped", "deadline ms", "missed", "missed share", "latency p50 ms", "p99 ms",
        "max ms", "wait p99 ms", "service p50 ms", "jitter ms", "frames a second",
    )  # fmt: skip
    behind = numbers("CPU ms a frame", "mJ a frame", "peak RSS MB")
    return sheet(texts("candidate", "how") + before + texts("drift") + behind + texts("evidence"), rows) if rows else None


def run_title(run: Run) -> str:
    """How its frames came."""
    if run.mode != "camera":
        return run.mode
    waiting = {"latest": ", newest frame waits", "all": ", all frames wait", None: ""}[run.queue]
    return f"camera at {run.fps or 0:g} Hz{waiting}"


def _run(run: Run) -> list[str]:
    drift = run.drift
    return [
        run_title(run), str(run.streams), str(run.threads), f"{run.seconds:.1f}", str(run.arrived), str(run.dropped),
        number(run.deadline_ms, ".1f"), number(run.missed, "d"),
        ABSENT if run.missed is None else _share(run.missed / run.arrived),
        milliseconds(run.latency.p50_ms), p99(run.latency.p99_ms, run.latency.count), milliseconds(run.latency.max_ms),
        p99(run.wait.p99_ms, run.wait.count), milliseconds(run.service.p50_ms), number(run.jitter_ms),
        per_second(run.throughput_fps),
        ABSENT if drift is None else f"x{drift.ratio:.3f} (95 %: {drift.ratio_low:.3f} to {drift.ratio_high:.3f})",
        number(run.cpu_ms_per_frame, ".1f"), number(run.energy_mj_per_frame, ".0f"), megabytes(run.peak_rss_bytes, 0),
        run.evidence.value,
    ]  # fmt: skip


def stages(report: Report) -> Sheet | None:
    """The build's stages and every candidate's own; a candidate that is a stage, with the same figures, has one row."""
    table = stages_sheet(judged_stages(report), _MOST_HEADS)
    return replace(table, rows=tuple(dict.fromkeys(table.rows))) if table.rows else None


def after_idle(report: Report) -> Sheet | None:
    """What the first inference after a pause takes."""
    rows = [
        [each.name, f"{idle.idle_s:g}", str(len(idle.samples_ms)), f"{sorted(idle.samples_ms)[len(idle.samples_ms) // 2]:.2f}",
         f"{max(idle.samples_ms):.2f}", idle.evidence.value]
        for each in report.candidates
        if (idle := each.after_idle) is not None
    ]  # fmt: skip
    headings = texts("candidate") + numbers("asleep s", "times", "median ms", "max ms") + texts("evidence")
    return sheet(headings, rows) if rows else None


def cold_starts(report: Report) -> Sheet | None:
    """What a fresh process pays until its first features."""
    rows = [
        [
            each.name, f"{cold.load_ms:.0f}", f"{cold.first_inference_ms:.1f}", number(cold.import_ms, ".0f"),
            number(cold.process_ms, ".0f"), megabytes(cold.peak_rss_bytes, 0), cold.evidence.value,
        ]
        for each in report.candidates
        if (cold := each.cold_start) is not None
    ]  # fmt: skip
    figures = numbers("load ms", "first inference ms", "runtime's import ms", "process to features ms", "peak RSS MB")
    return sheet(texts("candidate") + figures + texts("evidence"), rows) if rows else None


def placements(report: Report) -> Sheet | None:
    """On which device a runtime that chooses among several runs operations."""
    rows = []
    for each in report.candidates:
        placed = each.placement
        if placed is None:
            continue
        devices = ", ".join(f"{count} on {device}" for device, count in placed.by_device.items())
        fallen = ", ".join(f"{one.operation} ({one.kind}) on {one.device}" for one in placed.fallen[:20])
        more = f" and {len(placed.fallen) - 20} more" if len(placed.fallen) > 20 else ""
        rows.append([each.name, placed.asked, devices, fallen + more or "none", placed.source, placed.evidence.value])
    headings = texts("candidate", "asked", "operations", "not on the device asked", "told by", "evidence")
    return sheet(headings, rows) if rows else None
