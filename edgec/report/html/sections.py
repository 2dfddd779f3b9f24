"""One report's part of the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgec.fidelity.metrics import worst
from edgec.records.reading import printable
from edgec.records.report import CandidateFigures, Profile, Report
from edgec.report.breakdown import Part, by_block, by_kind, total, unattributed_ms
from edgec.report.columns import EVIDENCE
from edgec.report.decisions import budget_lines, decided
from edgec.report.html import sheets
from edgec.report.html.charts import Charts, add_camera, add_latency, add_pareto, add_stages, add_times
from edgec.report.html.head_sections import HeadSection, Sensed, head_section, sensed
from edgec.report.html.series import thinned
from edgec.report.html.sheets import Sheet, sheet, size_of
from edgec.report.html.subjects import Subject

if TYPE_CHECKING:
    from edgec.report.html.images import Shown

_STEPS = 20
"""Of a profile, listed one by one; the page's data would double with all."""
_HEADS_IN_SUMMARY = 4


@dataclass(frozen=True)
class Sampled:
    """Charts of one candidate's samples, by kind; `caption` says how they were taken."""

    name: str
    charts: dict[str, str]
    caption: str
    chosen: bool


@dataclass(frozen=True)
class Timed:
    """A profile: charts by kind of chart, tables, and how it was taken."""

    name: str
    caption: str
    charts: dict[str, str]
    kinds: Sheet
    blocks: Sheet | None
    steps: Sheet


@dataclass(frozen=True)
class Section:
    """What the template shows of one report. All text is on one line, and not escaped."""

    number: int
    name: str
    heading: str
    summary: str
    facts: tuple[tuple[str, str], ...]
    random_weights: bool
    candidates: Sheet
    pareto: str | None
    chosen: str
    reason: str
    problems: tuple[str, ...]
    measured: Sheet | None
    sampled: tuple[Sampled, ...]
    left_out: bool
    deadlines: Sheet | None
    runs: Sheet | None
    cameras: tuple[tuple[str, str], ...]
    sensed: tuple[Sensed, ...]
    stages: Sheet | None
    stages_chart: str | None
    shown: tuple[Shown, ...]
    all_frames: int
    heat: str
    without_pictures: str
    heads: HeadSection | None
    timed: tuple[Timed, ...]
    tables: tuple[tuple[str, Sheet], ...]
    notes: tuple[str, ...]


def section(charts: Charts, number: int, subject: Subject, *, frames: int, maps: int, all_candidates: bool) -> Section:
    """`frames` of features and `maps` rows of heads' pictures are shown at most; the latter one a head at least."""
    report, key = subject.report, f"r{number}"
    with_samples = [each for each in report.candidates if each.latency and each.latency.samples_ms]
    drawn = sorted((each for each in with_samples if all_candidates or each.chosen), key=lambda each: not each.chosen)
    pictures: tuple[Shown, ...] = ()
    heat = ""
    if subject.pictures is not None:
        from edgec.report.html.images import heat_scale, shown

        pictures, heat = shown(subject.pictures, frames), heat_scale()
    cameras = [
        (f"{printable(each.name)}, {sheets.run_title(run)}, {run.streams} stream{'s' * (run.streams > 1)}, {run.evidence.value}",
         add_camera(charts, f"{key}-camera{index}-{place}", run))
        for index, each in enumerate(report.candidates) for place, run in enumerate(each.runs)
    ]  # fmt: skip
    tables = {
        "Cold start, in a fresh process": sheets.cold_starts(report),
        "First inference after idle": sheets.after_idle(report),
        "Least possible latencies": sheets.bounds(report),
        "Where operations run": sheets.placements(report),
    }
    return Section(
        number=number, name=printable(subject.name), heading=_heading(report), summary=_summary(report),
        facts=tuple(_facts(report)),
        random_weights=report.model.random_weights, candidates=sheets.candidates(report),
        pareto=add_pareto(charts, f"{key}-pareto", report), chosen=printable(report.chosen), reason=printable(report.reason),
        problems=tuple(f"{printable(c.name)} has no figures: {printable(c.problem)}" for c in report.candidates if c.problem),
        measured=sheets.measured(report),
        sampled=tuple(_sampled(charts, f"{key}-s{index}", each) for index, each in enumerate(drawn)),
        left_out=len(drawn) < len(with_samples), deadlines=sheets.deadlines(report), runs=sheets.runs(report),
        cameras=tuple((title, chart) for title, chart in cameras if chart), sensed=sensed(charts, key, report),
        stages=sheets.stages(report),
        stages_chart=add_stages(charts, f"{key}-stages", report), shown=pictures,
        all_frames=len(subject.pictures.names) if subject.pictures else 0, heat=heat, without_pictures=subject.without_pictures,
        heads=head_section(charts, key, subject, rows=maps),
        timed=tuple(_timed(charts, f"{key}-p{index}", each) for index, each in enumerate(report.candidates) if each.profile),
        tables=tuple((title, found) for title, found in tables.items() if found), notes=tuple(map(printable, report.notes)),
    )  # fmt: skip


def facet(number: int, report: Report, candidate: CandidateFigures) -> dict[str, Any]:
    """What the page filters a row of its overview by."""
    return {
        "report": number,
        "target": printable(report.target),
        "arch": printable(report.model.arch),
        "size": size_of(report),
        "precision": printable(candidate.precision),
        "runtime": printable(candidate.runtime),
        "evidence": EVIDENCE.cell(candidate).split(", "),
        "chosen": candidate.chosen,
        "head": [printable(head.name) for head in report.heads] or ["none"],
    }


def _heading(report: Report) -> str:
    batch = f", {report.input_shape[0]} frames a batch" if report.input_shape[0] > 1 else ""
    return printable(f"{report.model.name} at {size_of(report)}{batch}, for {report.target}")


def _summary(report: Report) -> str:
    (chosen,) = (each for each in report.candidates if each.chosen)
    parts = [chosen.name]
    if chosen.latency is not None:
        parts.append(f"p50 {chosen.latency.p50_ms:.2f} ms, {chosen.latency.evidence.value}")
    if chosen.fidelity is not None:
        kept = [f"worst cosine {worst(chosen.fidelity):.5f}"] if chosen.fidelity.cosines else []
        for each in decided([chosen.fidelity])[:_HEADS_IN_SUMMARY]:
            kept.append(f"{each.words} {each.cell(chosen.fidelity)}")
        parts.append(f"{', '.join(kept)}, {chosen.fidelity.evidence.value}")
    return printable("; ".join(parts))


def _facts(report: Report) -> list[tuple[str, str]]:
    model, host, (batch, height, width, _) = report.model, report.host, report.input_shape
    machine = {True: "a virtual machine", False: "no virtual machine", None: "virtual machine or not: unknown"}
    suited = "has" if report.host_is_target else "does not have"
    found = {
        "model": f"{model.name}: {model.arch}, {model.parameters / 1e6:.1f} M parameters, {model.gflops:.1f} GFLOPs a frame",
        "checkpoint": f"SHA-256 {model.checkpoint_sha256}",
        "artefact": f"SHA-256 {report.artefact_sha256}" if report.artefact_sha256 else "no build wrote this report",
        "target": f"{report.target}; the measuring host {suited} all that its profile asks for",
        "input": f"{batch} frame{'s' if batch > 1 else ''} of {height}x{width}, uint8 RGB",
        "asked": "; ".join([f"precision {report.precision_asked}", *budget_lines(report)]),
        "judged": f"on {report.validation_frames} frames that calibration never saw; calibration: {report.calibration}",
        "host": f"{host.cpu} ({host.architecture}; {', '.join(host.isa) or 'no ISA flags known'}), {host.physical_cores} "
        f"physical and {host.logical_cores} logical cores, {host.usable_cores} usable, {host.memory_bytes / 1e9:.1f} GB, "
        f"governor {host.governor or 'unknown'}, {machine[host.virtual_machine]}",
        "system": f"{host.os}, Python {host.python}{f', JetPack {host.jetpack}' if host.jetpack else ''}",
        "made by": ", ".join([f"edgec {report.edgec_version}, {report.created}", *(
            f"{name} {version}" for name, version in sorted(host.versions.items()) if name != "edgec")]),
    }  # fmt: skip
    return [(title, printable(text)) for title, text in found.items()]


def _sampled(charts: Charts, key: str, candidate: CandidateFigures) -> Sampled:
    latency = candidate.latency
    assert latency is not None
    drawn = len(thinned(latency.samples_ms).places)
    points = (
        "every run is a point"
        if drawn == latency.iterations
        else f"{drawn} of {latency.iterations} runs are points, the rest hidden under them"
    )
    turns = f", in {len(latency.blocks)} blocks (every second one shaded)" if latency.blocks else ""
    caption = (
        f"{printable(candidate.name)}: {latency.iterations} runs back to back after {latency.warmup} unrecorded ones{turns}, on "
        f"{latency.threads} thread{'s' * (latency.threads > 1)}; {latency.evidence.value}; {points}."
    )
    return Sampled(printable(candidate.name), add_latency(charts, key, latency), caption, candidate.chosen)


def _timed(charts: Charts, key: str, candidate: CandidateFigures) -> Timed:
    profile = candidate.profile
    assert profile is not None
    blocks = by_block(profile)
    return Timed(
        printable(candidate.name), _profiled(profile), add_times(charts, key, candidate),
        _parts("kind", by_kind(profile), profile),
        _parts("block", blocks, profile) if blocks else None, _slowest(profile),
    )  # fmt: skip


def _profiled(profile: Profile) -> str:
    plain = f"; {profile.plain_ms:.2f} ms without profiling" if profile.plain_ms else ""
    rates = ", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in profile.rates_gflops.items())
    return printable(
        f"Told by {profile.source}, mean of {profile.iterations} runs; a profiled run takes {profile.whole_ms:.2f} ms{plain}; "
        f"{profile.evidence.value}." + (f" Measured rates that the roofline refers to: {rates}." if rates else "")
    )


def _parts(title: str, parts: tuple[Part, ...], profile: Profile) -> Sheet:
    rows = [
        [part.name, str(part.steps), f"{part.ms:.3f}", f"{100 * part.share:.1f} %",
         "-" if part.gflops is None else f"{part.gflops:.2f}", "-" if part.roofline is None else f"{100 * part.roofline:.0f} %"]
        for part in (*parts, total(profile))
    ]  # fmt: skip
    rest = unattributed_ms(profile)
    rows.append(["in no step", "-", f"{rest:.3f}", f"{100 * rest / profile.whole_ms:.1f} %", "-", "-"])
    return sheet(f"{title}|steps#|ms#|of the whole#|GFLOP#|of the roofline#", rows, [len(parts)])


def _slowest(profile: Profile) -> Sheet:
    steps = sorted(profile.steps, key=lambda step: -step.mean_ms)[:_STEPS]
    rows = [
        [step.name, step.kind, "-" if step.block is None else str(step.block), step.execution or "-", f"{step.mean_ms:.3f}",
         "-" if step.roofline_share is None else f"{100 * step.roofline_share:.0f} %", ", ".join(step.operations) or "-"]
        for step in steps
    ]  # fmt: skip
    return sheet("step|kind|block#|ran as|ms#|of the roofline#|operations", rows)
