"""One report's part of the page."""

from __future__ import annotations

from typing import Any

from edgec.fidelity.metrics import worst
from edgec.onboard.figures import kept, milliseconds
from edgec.records.reading import printable
from edgec.records.report import CandidateFigures, Profile, Report
from edgec.report.breakdown import Part, by_block, by_kind, total, unattributed_ms
from edgec.report.cells import ABSENT, mark_chosen, number
from edgec.report.columns import EVIDENCE, bounds_sheet, elsewhere_sheet
from edgec.report.compiled import compilations_of, compiled_sheet
from edgec.report.decisions import budget_lines, head_measures
from edgec.report.facts import (
    RANDOM_WEIGHTS,
    host_words,
    input_words,
    judged_words,
    model_words,
    size_of,
    target_words,
    tool_versions,
)
from edgec.report.html import sheets
from edgec.report.html.charts import Charts, add_camera, add_latency, add_pareto, add_stages, add_times
from edgec.report.html.head_sections import head_section, sensed
from edgec.report.html.series import thinned
from edgec.report.html.subjects import Subject
from edgec.report.sheets import Sheet, numbers, sheet, texts

_STEPS = 20
"""Of a profile, listed one by one; the page's data would double with all."""
_HEADS_IN_SUMMARY = 4


def section(charts: Charts, number: int, subject: Subject, *, frames: int, maps: int, all_candidates: bool) -> dict[str, Any]:
    """What the template shows of one report, by the template's names. All text is on one line, and not escaped.

    At most `frames` of features are shown, and `maps` rows of heads' pictures, but one for each head at least.
    """
    report, key = subject.report, f"r{number}"
    with_samples = [each for each in report.candidates if each.latency and each.latency.samples_ms]
    drawn = sorted((each for each in with_samples if all_candidates or each.chosen), key=lambda each: not each.chosen)
    pictures: list[dict[str, Any]] = []
    heat = ""
    if subject.pictures is not None:
        from edgec.report.html.images import heat_scale, shown

        pictures, heat = shown(subject.pictures, frames), heat_scale()
    cameras = [
        (f"{printable(each.name)}, {sheets.run_title(run)}, {run.streams} stream{'s' * (run.streams > 1)}, {run.evidence.value}",
         add_camera(charts, f"{key}-camera{index}-{number_of_run}", run))
        for index, each in enumerate(report.candidates) for number_of_run, run in enumerate(each.runs)
    ]  # fmt: skip
    tables = {
        "Fidelity elsewhere: the worst 1 % of patches": elsewhere_sheet(report),
        "Cold start, in a fresh process": sheets.cold_starts(report),
        "First inference after idle": sheets.after_idle(report),
        "Latencies to expect on boards": bounds_sheet(report),
        "Compiled on the host, by the vendor's compiler": compiled_sheet(compilations_of(report)),
        "Where operations run": sheets.placements(report),
    }
    return {
        "number": number,
        "name": printable(subject.name),
        "heading": _heading(report),
        "summary": _summary(report),
        "facts": _facts(report),
        "random_weights": RANDOM_WEIGHTS if report.model.random_weights else "",
        "candidates": sheets.candidates(report),
        "pareto": add_pareto(charts, f"{key}-pareto", report),
        "chosen": printable(report.chosen),
        "reason": printable(report.reason),
        "problems": [f"{printable(c.name)} has no figures: {printable(c.problem)}" for c in report.candidates if c.problem],
        "measured": sheets.measured(report),
        "sampled": [_sampled(charts, f"{key}-s{index}", each, report.input_shape[0]) for index, each in enumerate(drawn)],
        "left_out": len(drawn) < len(with_samples),
        "deadlines": sheets.deadlines(report),
        "runs": sheets.runs(report),
        "cameras": [(title, chart) for title, chart in cameras if chart],
        "sensed": sensed(charts, key, report),
        "stages": sheets.stages(report),
        "stages_chart": add_stages(charts, f"{key}-stages", report),
        "shown": pictures,
        "all_frames": len(subject.pictures.names) if subject.pictures else 0,
        "heat": heat,
        "without_pictures": subject.without_pictures,
        "heads": head_section(charts, key, subject, rows=maps),
        "timed": [_timed(charts, f"{key}-p{index}", each) for index, each in enumerate(report.candidates) if each.profile],
        "tables": [(title, table) for title, table in tables.items() if table],
        "notes": list(map(printable, report.notes)),
    }


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
        parts.append(f"p50 {milliseconds(chosen.latency.p50_ms)} ms, {chosen.latency.evidence.value}")
    if chosen.fidelity is not None:
        figures = [f"fidelity {kept(worst(chosen.fidelity))}"] if chosen.fidelity.cosines else []
        for each in head_measures([chosen.fidelity])[:_HEADS_IN_SUMMARY]:
            figures.append(f"{each.words} {each.cell(chosen.fidelity)}")
        parts.append(f"{', '.join(figures)}, {chosen.fidelity.evidence.value}")
    return printable("; ".join(parts))


def _facts(report: Report) -> list[tuple[str, str]]:
    host = report.host
    facts = {
        "model": f"{report.model.name}: {model_words(report)}",
        "checkpoint": f"SHA-256 {report.model.checkpoint_sha256}",
        "artefact": f"SHA-256 {report.artefact_sha256}" if report.artefact_sha256 else "no build wrote this report",
        "target": target_words(report),
        "input": input_words(report),
        "asked": "; ".join([f"precision {report.precision_asked}", *budget_lines(report)]),
        "judged": f"{judged_words(report)}; calibration: {report.calibration}",
        "host": host_words(host),
        "system": f"{host.os}, Python {host.python}{f', JetPack {host.jetpack}' if host.jetpack else ''}",
        "made by": ", ".join(filter(None, [f"edgec {report.edgec_version}, {report.created}", tool_versions(host)])),
    }
    return [(title, printable(text)) for title, text in facts.items()]


def _sampled(charts: Charts, key: str, candidate: CandidateFigures, batch: int) -> dict[str, Any]:
    """One candidate's samples: charts by kind, and how they were taken."""
    latency = candidate.latency
    assert latency is not None
    drawn = len(thinned(latency.samples_ms))
    points = (
        "every run is a point"
        if drawn == latency.iterations
        else f"{drawn} of {latency.iterations} runs are points, the rest hidden under them"
    )
    turns = f", in {len(latency.blocks)} blocks (every second one shaded)" if latency.blocks else ""
    name = mark_chosen(candidate.name, chosen=False)
    caption = (
        f"{name}: {latency.iterations} runs back to back after {latency.warmup} unrecorded ones{turns}, on "
        f"{latency.threads} thread{'s' * (latency.threads > 1)}; {latency.evidence.value}; {points}."
    )
    return {
        "name": name,
        "charts": add_latency(charts, key, latency, batch),
        "caption": caption,
        "chosen": candidate.chosen,
    }


def _timed(charts: Charts, key: str, candidate: CandidateFigures) -> dict[str, Any]:
    """One candidate's profile: charts by kind, tables, and how it was taken."""
    profile = candidate.profile
    assert profile is not None
    blocks = by_block(profile)
    return {
        "name": printable(candidate.name),
        "caption": _profiled(profile),
        "charts": add_times(charts, key, candidate),
        "kinds": _parts("kind", by_kind(profile), profile),
        "blocks": _parts("block", blocks, profile) if blocks else None,
        "steps": _slowest(profile),
    }


def _profiled(profile: Profile) -> str:
    plain = f"; {profile.plain_ms:.2f} ms without profiling" if profile.plain_ms else ""
    rates = ", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in profile.rates_gflops.items())
    return printable(
        f"Told by {profile.source}, mean of {profile.iterations} runs; a profiled run takes {profile.whole_ms:.2f} ms{plain}; "
        f"{profile.evidence.value}." + (f" Measured rates that the roofline refers to: {rates}." if rates else "")
    )


def _parts(title: str, parts: tuple[Part, ...], profile: Profile) -> Sheet:
    rows = [
        [part.name, str(part.steps), f"{part.ms:.3f}", f"{100 * part.share:.1f} %", number(part.gflops), _percent(part.roofline)]
        for part in (*parts, total(profile))
    ]
    rest = unattributed_ms(profile)
    rows.append(["in no step", ABSENT, f"{rest:.3f}", f"{100 * rest / profile.whole_ms:.1f} %", ABSENT, ABSENT])
    return sheet(texts(title) + numbers("steps", "ms", "of the whole", "GFLOP", "of the roofline"), rows, [len(parts)])


def _slowest(profile: Profile) -> Sheet:
    steps = sorted(profile.steps, key=lambda step: -step.mean_ms)[:_STEPS]
    rows = [
        [step.name, step.kind, number(step.block, "d"), step.execution or ABSENT, f"{step.mean_ms:.3f}",
         _percent(step.roofline_share), ", ".join(step.operations) or ABSENT]
        for step in steps
    ]  # fmt: skip
    headings = texts("step", "kind") + numbers("block") + texts("ran as") + numbers("ms", "of the roofline") + texts("operations")
    return sheet(headings, rows)


def _percent(share: float | None) -> str:
    return ABSENT if share is None else f"{100 * share:.0f} %"
