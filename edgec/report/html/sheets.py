"""A report's figures as tables of plain text. The template escapes every cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgec.fidelity.metrics import worst
from edgec.records.reading import printable
from edgec.records.report import CandidateFigures, Latency, Report, Run
from edgec.report.columns import ABSENT, EVIDENCE, cosine_cell, telling
from edgec.report.decisions import Decided, decided
from edgec.report.grids import Grid
from edgec.report.html.series import RATES_HZ, above
from edgec.report.html.subjects import Subject, candidates_of

_MOST_HEADS = 12
"""Columns of a table."""


@dataclass(frozen=True)
class Sheet:
    """`numbers` says by column whether it is one; `strong` are the rows that are set off."""

    titles: tuple[str, ...]
    numbers: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: tuple[int, ...] = ()


def sheet(titles: str | Sequence[str], rows: Iterable[Sequence[str]], strong: Sequence[int] = ()) -> Sheet:
    """`titles` are parted by `|`, where they are one string; one that ends with `#` is of a column of numbers."""
    parts = titles.split("|") if isinstance(titles, str) else titles
    return Sheet(
        tuple(printable(part.rstrip("#")) for part in parts),
        tuple(part.rstrip().endswith("#") for part in parts),
        tuple(tuple(map(printable, row)) for row in rows),
        tuple(strong),
    )


def of_grid(grid: Grid) -> Sheet:
    return Sheet(grid.titles, grid.numbers, grid.rows, grid.strong)


def size_of(report: Report) -> str:
    _, height, width, _ = report.input_shape
    return f"{height}x{width}"


def overview(subjects: Sequence[Subject]) -> Sheet:
    """A row a candidate, in the order of the reports; a column a head's output, for those that come first."""
    heads = decided(each.fidelity for subject in subjects for each in subject.report.candidates)[:_MOST_HEADS]
    rows: list[list[str]] = []
    strong: list[int] = []
    for number, subject in enumerate(subjects, 1):
        report = subject.report
        for place, candidate in enumerate(candidates_of(report), 1):
            if candidate.chosen:
                strong.append(len(rows))
            rows.append([
                f"{number}.{place}", subject.name, report.target, size_of(report),
                candidate.name + (" (chosen)" if candidate.chosen else ""), *_headline(candidate, heads),
                report.model.name, report.model.arch, str(report.input_shape[0]),
            ])  # fmt: skip
    # What decides stands first: of a table this wide the rest is out of sight.
    titles = [
        *("no.#", "report", "target", "size", "candidate", "p50 ms#", "p99 ms#", "worst cosine#"),
        *(f"{each.title}#" for each in heads),
        *("evidence", "max ms#", "cls#", "patch mean#", "patch p01#", "size MB#", "peak RSS MB#", "model", "arch", "batch#"),
    ]
    return sheet(titles, rows, strong)


def _headline(candidate: CandidateFigures, heads: Sequence[Decided]) -> list[str]:
    latency, fidelity, cold = candidate.latency, candidate.fidelity, candidate.cold_start
    features = fidelity if fidelity is not None and fidelity.cosines else None
    return [
        *([ABSENT] * 2 if latency is None else [f"{value:.2f}" for value in (latency.p50_ms, latency.p99_ms)]),
        cosine_cell(None if features is None else worst(features)),
        *(each.cell(fidelity) for each in heads),
        EVIDENCE.cell(candidate),
        ABSENT if latency is None else f"{latency.max_ms:.2f}",
        *(cosine_cell(getattr(features, field, None)) for field in ("cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01")),
        ABSENT if candidate.size_bytes is None else f"{candidate.size_bytes / 1e6:.1f}",
        ABSENT if cold is None else f"{cold.peak_rss_bytes / 1e6:.0f}",
    ]


def candidates(report: Report) -> Sheet:
    columns = telling(report.candidates)
    rows = [
        [str(number), *(column.cell(candidate) for column in columns)] for number, candidate in enumerate(report.candidates, 1)
    ]
    titles = ["no.#", *(column.title + "#" * column.number for column in columns)]
    return sheet(titles, rows, [index for index, candidate in enumerate(report.candidates) if candidate.chosen])


def deadlines(report: Report) -> Sheet | None:
    """By candidate and rate the share of back-to-back runs that took longer than a frame's time."""
    rows: list[list[str]] = []
    strong: list[int] = []
    for candidate in candidates_of(report):
        latency = candidate.latency
        if latency is None or not latency.samples_ms:
            continue
        if candidate.chosen:
            strong.append(len(rows))
        shares = [_share(above(latency.samples_ms, 1000 / rate)) for rate in RATES_HZ]
        rows.append([candidate.name, *shares, str(latency.iterations), f"{latency.evidence.value}, back to back"])
    heads = "|".join(f"{rate} Hz ({1000 / rate:.1f} ms)#" for rate in RATES_HZ)
    return sheet(f"candidate|{heads}|runs#|evidence", rows, strong) if rows else None


def _share(value: float) -> str:
    return f"{100 * value:.4g} %"


def measured(report: Report) -> Sheet | None:
    """How each latency was taken."""
    rows = [
        [
            candidate.name,
            *(f"{value:.2f}" for value in (each.min_ms, each.p50_ms, each.p90_ms, each.p99_ms, each.max_ms, each.mean_ms)),
            str(each.iterations), str(each.warmup), str(each.threads), _or_absent(each.other_cores, "{:.2f}"),
            _or_absent(candidate.cpu_ms_per_frame, "{:.1f}"), *_circumstances(each), each.evidence.value,
        ]
        for candidate in report.candidates
        if (each := candidate.latency) is not None
    ]  # fmt: skip
    titles = (
        "candidate|min ms#|p50 ms#|p90 ms#|p99 ms#|max ms#|mean ms#|runs#|warm-up runs#|threads#|other work, cores#|"
        "CPU ms a frame#|circumstances|evidence"
    )
    return sheet(titles, rows) if rows else None


def _circumstances(latency: Latency) -> list[str]:
    found = [
        *([f"power mode {latency.power_mode}"] if latency.power_mode else []),
        *({True: ["GPU clock fixed"], False: ["GPU clock free"], None: []}[latency.gpu_clock_fixed]),
        *(f"{zone} {before:.0f} to {after:.0f} °C" for zone, (before, after) in latency.temperatures_c.items()),
        *(f"{rail} {mean / 1000:.2f} W mean, {most / 1000:.2f} W most" for rail, (mean, most) in latency.power_mw.items()),
        *(f"throttled: {reason}" for reason in latency.throttled),
        *([" ".join(latency.flags)] if latency.flags else []),
    ]
    return ["; ".join(found) or ABSENT]


def _or_absent(value: float | None, pattern: str) -> str:
    return ABSENT if value is None else pattern.format(value)


def runs(report: Report) -> Sheet | None:
    """Everything that ran on a camera's clock, and other sustained runs."""
    rows = [[candidate.name, *_run(run)] for candidate in report.candidates for run in candidate.runs]
    titles = (
        "candidate|how|streams#|threads#|seconds#|frames#|dropped#|deadline ms#|missed#|missed share#|latency p50 ms#|p99 ms#|"
        "max ms#|wait p99 ms#|service p50 ms#|jitter ms#|frames a second#|drift|CPU ms a frame#|mJ a frame#|peak RSS MB#|evidence"
    )
    return sheet(titles, rows) if rows else None


def run_title(run: Run) -> str:
    if run.mode != "camera":
        return run.mode
    kept = {"latest": ", newest frame waits", "all": ", all frames wait", None: ""}[run.queue]
    return f"camera at {run.fps or 0:g} Hz{kept}"


def _run(run: Run) -> list[str]:
    drift = run.drift
    return [
        run_title(run), str(run.streams), str(run.threads), f"{run.seconds:.1f}", str(run.arrived), str(run.dropped),
        _or_absent(run.deadline_ms, "{:.1f}"), _or_absent(run.missed, "{:d}"),
        ABSENT if run.missed is None else _share(run.missed / run.arrived),
        *(f"{value:.2f}" for value in (run.latency.p50_ms, run.latency.p99_ms, run.latency.max_ms)),
        f"{run.wait.p99_ms:.2f}", f"{run.service.p50_ms:.2f}", _or_absent(run.jitter_ms, "{:.2f}"), f"{run.throughput_fps:.2f}",
        ABSENT if drift is None else f"x{drift.ratio:.3f} (95 %: {drift.ratio_low:.3f} to {drift.ratio_high:.3f})",
        _or_absent(run.cpu_ms_per_frame, "{:.1f}"), _or_absent(run.energy_mj_per_frame, "{:.0f}"),
        ABSENT if run.peak_rss_bytes is None else f"{run.peak_rss_bytes / 1e6:.0f}", run.evidence.value,
    ]  # fmt: skip


def stages(report: Report) -> Sheet | None:
    """The build's stages and every candidate's own."""
    found = [*report.stages, *(each.fidelity for each in report.candidates if each.fidelity is not None)]
    names = [*(each.stage for each in report.stages), *(each.name for each in report.candidates if each.fidelity is not None)]
    heads = decided(found)[:_MOST_HEADS]
    rows = [
        [name, *(cosine_cell(value, 6) for value in (each.cls_cosine_mean, each.patch_cosine_mean, each.patch_cosine_p01)),
         *(head.cell(each) for head in heads), str(each.frames), each.evidence.value]
        for name, each in zip(names, found, strict=True)
    ]  # fmt: skip
    unique = list(dict.fromkeys(map(tuple, rows)))
    titles = ["stage", "cls mean#", "patch mean#", "patch p01#", *(f"{head.title}#" for head in heads), "frames#", "evidence"]
    return sheet(titles, unique) if rows else None


def bounds(report: Report) -> Sheet | None:
    rows = [
        [each.name, bound.board, bound.power_mode, f"{bound.bound_ms:.2f}", bound.limited_by, bound.evidence.value]
        for each in report.candidates
        for bound in each.bounds
    ]
    return sheet("candidate|board|power mode|at least ms#|limited by|evidence", rows) if rows else None


def after_idle(report: Report) -> Sheet | None:
    rows = [
        [each.name, f"{idle.idle_s:g}", str(len(idle.samples_ms)), f"{sorted(idle.samples_ms)[len(idle.samples_ms) // 2]:.2f}",
         f"{max(idle.samples_ms):.2f}", idle.evidence.value]
        for each in report.candidates
        if (idle := each.after_idle) is not None
    ]  # fmt: skip
    return sheet("candidate|asleep s#|times#|median ms#|max ms#|evidence", rows) if rows else None


def cold_starts(report: Report) -> Sheet | None:
    rows = [
        [
            each.name, f"{cold.load_ms:.0f}", f"{cold.first_inference_ms:.1f}", _or_absent(cold.import_ms, "{:.0f}"),
            _or_absent(cold.process_ms, "{:.0f}"), f"{cold.peak_rss_bytes / 1e6:.0f}", cold.evidence.value,
        ]
        for each in report.candidates
        if (cold := each.cold_start) is not None
    ]  # fmt: skip
    titles = "candidate|load ms#|first inference ms#|runtime's import ms#|process to features ms#|peak RSS MB#|evidence"
    return sheet(titles, rows) if rows else None


def placements(report: Report) -> Sheet | None:
    rows = []
    for each in report.candidates:
        placed = each.placement
        if placed is None:
            continue
        devices = ", ".join(f"{count} on {device}" for device, count in placed.by_device.items())
        fallen = ", ".join(f"{one.operation} ({one.kind}) on {one.device}" for one in placed.fallen[:20])
        more = f" and {len(placed.fallen) - 20} more" if len(placed.fallen) > 20 else ""
        rows.append([each.name, placed.asked, devices, fallen + more or "none", placed.source, placed.evidence.value])
    return sheet("candidate|asked|operations|not on the device asked|told by|evidence", rows) if rows else None
