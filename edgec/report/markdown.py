"""A report as Markdown. Text in it comes from files and stays text: it cannot break a table or become a link or a tag."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from edgec.records.fidelity import StageFidelity
from edgec.records.reading import printable
from edgec.records.report import YARDSTICK, Host, Report
from edgec.report import compiled
from edgec.report.columns import cosine_cell, telling
from edgec.report.compiled import named
from edgec.report.decisions import beyond_lines, budget_lines, decided
from edgec.report.grids import Grid, heads_grid, iou_grids, kept_grids
from edgec.report.run_rows import run_tables

RANDOM_WEIGHTS = "**Random weights: latency is real; fidelity is against the same random model and says nothing of features.**"
_SPECIAL = re.compile(r"([\\`*\[\]|~$])|(?<![A-Za-z0-9])(_)|(_)(?![A-Za-z0-9])")
_MARKER = re.compile(r"^[-+#=]|(?<=^\d)[.)]|(?<=^\d\d)[.)]")
"""What would begin a list or a heading within a list's item."""
_MOST_CLASSES = 30
_HEADS = (
    "Heads: what the shipped ones decide, held against the same heads in float32 on the same frames, not against the truth. "
    "A margin is the score of float32's class less the best of the others: below zero where the shipped head decides otherwise."
)


def to_markdown(report: Report, pareto: str | None = None) -> str:
    """Title, what and where, the candidates with the chosen one marked and why, fidelity by stage, notes, how it was measured.

    `pareto` is the path of the candidates' picture, from where the text will lie.
    """
    parts = [
        f"# {escape(report.model.name)} for {escape(report.target)}",
        *([RANDOM_WEIGHTS] if report.model.random_weights else []),
        _bullets(_what(report)),
        "## Candidates",
        _candidates(report),
        *([f"![Latency against features lost, of every candidate]({pareto})"] if pareto else []),
        f"Chosen: **{escape(report.chosen)}**. {escape(report.reason)}",
        _problems(report),
        _bullets(map(escape, beyond_lines(report))) if report.heads else "",
        *(["## Least possible latencies", _bounds(report)] if any(c.bounds for c in report.candidates) else []),
        *(["## Compiled on the host", *_compiled(report)] if any(c.compilations for c in report.candidates) else []),
        *(["## Runs", _runs(report), _idle(report)] if any(c.runs or c.after_idle for c in report.candidates) else []),
        "## Fidelity by stage",
        _stages(report.stages),
        *_heads(report),
        *(["## Notes", _bullets(escape(note) for note in report.notes)] if report.notes else []),
        "## How it was measured",
        _bullets(_method(report)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Any text as one line of Markdown that shows just this text, in a table too."""
    line = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(_escaped, line)


def _escaped(match: re.Match[str]) -> str:
    return f"\\{match.group()}"


def _what(report: Report) -> list[str]:
    model, (batch, height, width, _) = report.model, report.input_shape
    suited = "has" if report.host_is_target else "does not have"
    versions = {name: version for name, version in report.host.versions.items() if name != "edgec"}
    return [
        f"Model: {escape(model.arch)}, {model.parameters / 1e6:.1f} M parameters, {model.gflops:.1f} GFLOPs a frame, "
        f"checkpoint SHA-256 {escape(model.checkpoint_sha256)}",
        f"Target: {escape(report.target)}; the measuring host {suited} all that its profile asks for",
        f"Input: {batch} frame{'s' if batch > 1 else ''} of {height}x{width}, uint8 RGB",
        f"Precision asked: {escape(report.precision_asked)}; budget: {'; '.join(budget_lines(report)) or 'none'}",
        f"Calibration: {escape(report.calibration)}; judged on {report.validation_frames} frames that it never saw",
        *_where(report.host),
        f"Made by edgec {escape(report.edgec_version)}, {escape(report.created)}; "
        + ", ".join(f"{escape(name)} {escape(version)}" for name, version in sorted(versions.items())),
    ]


def _where(host: Host) -> list[str]:
    machine = {True: "a virtual machine", False: "no virtual machine", None: "virtual machine or not: unknown"}
    return [
        f"Host: {escape(host.cpu)} ({escape(host.architecture)}; {escape(', '.join(host.isa)) or 'no ISA flags known'}), "
        f"{host.physical_cores} physical and {host.logical_cores} logical cores, {host.usable_cores} usable, "
        f"{host.memory_bytes / 1e9:.1f} GB, governor {escape(host.governor or 'unknown')}, {machine[host.virtual_machine]}",
        f"System: {escape(host.os)}, Python {escape(host.python)}",
    ]


def _candidates(report: Report) -> str:
    rows = []
    columns = telling(report.candidates)
    for candidate in report.candidates:
        cells = [escape(column.cell(candidate)) for column in columns]
        rows.append([f"**{cell}**" for cell in cells] if candidate.chosen else cells)
    return markdown_table([escape(column.title) for column in columns], rows, [column.number for column in columns])


def _problems(report: Report) -> str:
    return _bullets(f"{escape(c.name)} has no figures: {escape(c.problem)}" for c in report.candidates if c.problem)


def _bounds(report: Report) -> str:
    rows = [
        [
            *map(escape, (candidate.name, bound.board, bound.power_mode)),
            f"{bound.bound_ms:.2f}",
            bound.limited_by,
            "-" if bound.estimate_ms is None else f"{bound.estimate_ms:.2f}",
            bound.evidence.value,
        ]
        for candidate in report.candidates
        for bound in candidate.bounds
    ]
    titles = ["candidate", "board", "power mode", "at least ms", "limited by", "estimate ms", "evidence"]
    return markdown_table(titles, rows, [False, False, False, True, False, True, False])


def _compiled(report: Report) -> list[str]:
    compilations = named(report)
    rows = [[escape(cell) for cell in compiled.row(name, each)] for name, each in compilations]
    return [
        f"{escape(compiled.compiler_line([each for _, each in compilations]))}.",
        markdown_table(compiled.TITLES, rows, compiled.NUMBERS),
        _bullets(map(escape, compiled.refusals(compilations))),
        compiled.NOTE,
    ]


def _runs(report: Report) -> str:
    return "\n\n".join(
        markdown_table(
            ["", *map(escape, table.titles)],
            [[name, *map(escape, cells)] for name, cells in table.rows],
            [False, *[True] * len(table.titles)],
        )
        for table in run_tables(report)
    )


def _idle(report: Report) -> str:
    return _bullets(
        f"{escape(candidate.name)} after {idle.idle_s:g} s of idling: "
        f"{', '.join(f'{sample:.2f}' for sample in idle.samples_ms)} ms ({idle.evidence.value})"
        for candidate in report.candidates
        if (idle := candidate.after_idle) is not None
    )


def _stages(stages: Sequence[StageFidelity]) -> str:
    if not stages:
        return "None was measured."
    heads = decided(stages)
    rows = [
        [
            escape(stage.stage),
            *map(cosine_cell, (stage.cls_cosine_mean, stage.patch_cosine_mean, stage.patch_cosine_p01)),
            *(each.cell(stage) for each in heads),
            str(stage.frames),
            stage.evidence.value,
        ]
        for stage in stages
    ]
    titles = ["stage", "cls mean", "patch mean", "patch p01", *(escape(each.title) for each in heads), "frames", "evidence"]
    return markdown_table(titles, rows, [False, *[True] * (4 + len(heads)), False])


def _heads(report: Report) -> list[str]:
    found = heads_grid(report)
    if found is None:
        return []
    grids = [*kept_grids(report), *iou_grids(report, _MOST_CLASSES)]
    parts = ["## Heads", _grid(found)]
    for grid in grids:
        parts += [f"### {escape(grid.title)}", _grid(grid)]
    return parts


def _grid(grid: Grid) -> str:
    rows = [[f"**{escape(cell)}**" if at in grid.strong else escape(cell) for cell in row] for at, row in enumerate(grid.rows)]
    return markdown_table([escape(title) for title in grid.titles], rows, grid.numbers)


def _method(report: Report) -> list[str]:
    taken = dict.fromkeys(
        f"{c.latency.iterations} runs after {c.latency.warmup} unrecorded ones, "
        f"on {c.latency.threads} thread{'s' if c.latency.threads > 1 else ''}"
        for c in report.candidates
        if c.latency is not None and c.name != YARDSTICK
    )
    return [
        "Latency: from a batch of camera frames in memory to its features, in milliseconds; "
        f"{'; '.join(taken) or 'none was measured'}. Nothing is clipped; the single runs are in report.json.",
        "Load, first inference and peak memory: in a fresh process that imports only numpy and the runtime. Load does not count "
        "that import; memory counts all that the process holds.",
        "Fidelity: cosines to the features of the float32 PyTorch model; p01 is the first percentile over all patches of all "
        "frames.",
        *([_HEADS] if report.heads else []),
    ]


def markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool]) -> str:
    lines = [titles, ["---:" if number else "---" for number in numbers], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_MARKER.sub(_escaped, line)}" for line in lines)
