"""A report as Markdown. Text that comes from files is escaped: it cannot break a table or become a link or a tag."""

from __future__ import annotations

import re
from collections.abc import Iterable

from edgec.records.reading import printable
from edgec.records.report import YARDSTICK, Report
from edgec.report.columns import bounds_sheet, candidates_sheet, elsewhere_sheet, stages_sheet
from edgec.report.compiled import NOTE, compilations_of, compiled_sheet, compiler_line, refusals
from edgec.report.decisions import budget_lines, violation_lines
from edgec.report.facts import (
    RANDOM_WEIGHTS,
    host_words,
    input_words,
    judged_words,
    model_words,
    repeats_line,
    target_words,
    tool_versions,
)
from edgec.report.grids import fidelity_grids, heads_grid, iou_grids
from edgec.report.runs import run_sheets
from edgec.report.sheets import Sheet

_SPECIAL = re.compile(r"([\\`*\[\]|~$])|(?<![A-Za-z0-9])(_)|(_)(?![A-Za-z0-9])")
_MARKER = re.compile(r"^[-+#=]|(?<=^\d)[.)]|(?<=^\d\d)[.)]")
"""What would begin another list or a heading within an item of a list."""
_MOST_CLASSES = 30
_HEADS = (
    "Heads: what the shipped ones decide, held against the same heads in float32 on the same frames, not against the truth. "
    "A margin is the score of float32's class less the best of the others: below zero where the shipped head decides otherwise."
)


def to_markdown(report: Report, pareto: str | None = None) -> str:
    """Title, what and where, the candidates with the chosen one marked and why, fidelity by stage, notes, how it was measured.

    `pareto` is the path of the candidates' picture, relative to the folder of the Markdown file.
    """
    parts = [
        f"# {escape(report.model.name)} for {escape(report.target)}",
        *([f"**{RANDOM_WEIGHTS}**"] if report.model.random_weights else []),
        bullets(_what(report)),
        "## Candidates",
        markdown_table(candidates_sheet(report)),
        *([f"![Latency against features lost, of every candidate]({pareto})"] if pareto else []),
        f"Chosen: **{escape(report.chosen)}**. {escape(report.reason)}",
        _problems(report),
        bullets(map(escape, violation_lines(report))) if report.heads else "",
        *(["## Latencies to expect on boards", markdown_table(bounds)] if (bounds := bounds_sheet(report)) else []),
        *_compiled(report),
        *(
            ["## Runs", *map(markdown_table, run_sheets(report)), _idle(report)]
            if any(c.runs or c.after_idle for c in report.candidates)
            else []
        ),
        "## Fidelity by stage",
        markdown_table(stages_sheet([(stage.stage, stage) for stage in report.stages]))
        if report.stages
        else "None was measured.",
        escape(repeats_line(report)),
        *_elsewhere(report),
        *_heads(report),
        *(["## Notes", bullets(escape(note) for note in report.notes)] if report.notes else []),
        "## How it was measured",
        bullets(_method(report)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Any text as one line of Markdown that shows exactly this text, also in a table."""
    line = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(_escaped, line)


def _escaped(match: re.Match[str]) -> str:
    return f"\\{match.group()}"


def _what(report: Report) -> list[str]:
    return [
        f"Model: {escape(f'{model_words(report)}, checkpoint SHA-256 {report.model.checkpoint_sha256}')}",
        f"Target: {escape(target_words(report))}",
        f"Input: {input_words(report)}",
        f"Precision asked: {escape(report.precision_asked)}; budget: {'; '.join(budget_lines(report)) or 'none'}",
        f"Calibration: {escape(report.calibration)}; judged {judged_words(report)}",
        f"Host: {escape(host_words(report.host))}",
        f"System: {escape(report.host.os)}, Python {escape(report.host.python)}",
        escape(f"Made by edgec {report.edgec_version}, {report.created}; {tool_versions(report.host)}"),
    ]


def _problems(report: Report) -> str:
    return bullets(f"{escape(c.name)} has no figures: {escape(c.problem)}" for c in report.candidates if c.problem)


def _compiled(report: Report) -> list[str]:
    compilations = compilations_of(report)
    table = compiled_sheet(compilations)
    if table is None:
        return []
    line = escape(compiler_line([each for _, each in compilations]))
    return ["## Compiled on the host", f"{line}.", markdown_table(table), bullets(map(escape, refusals(compilations))), NOTE]


def _idle(report: Report) -> str:
    return bullets(
        f"{escape(candidate.name)} after {idle.idle_s:g} s of idling: "
        f"{', '.join(f'{sample:.2f}' for sample in idle.samples_ms)} ms ({idle.evidence.value})"
        for candidate in report.candidates
        if (idle := candidate.after_idle) is not None
    )


def _elsewhere(report: Report) -> list[str]:
    table = elsewhere_sheet(report)
    if table is None:
        return []
    counts = {part.stage: part.frames for candidate in report.candidates for part in candidate.elsewhere}
    of_each = ", ".join(f"{count} of {name}" for name, count in counts.items())
    words = (
        "The first percentile over all patches of frames that are not from the calibration's scene, or show it through what may "
        f"befall a camera ({of_each}). In the table of candidates, the column elsewhere is the lowest fidelity of all of these."
    )
    return ["## Fidelity elsewhere", escape(words), markdown_table(table)]


def _heads(report: Report) -> list[str]:
    facts = heads_grid(report)
    if facts is None:
        return []
    parts = ["## Heads", markdown_table(facts)]
    for grid in (*fidelity_grids(report), *iou_grids(report, _MOST_CLASSES)):
        parts += [f"### {escape(grid.title)}", markdown_table(grid)]
    return parts


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
        "Fidelity: cosines to the features of the float32 PyTorch model; worst 1 %: the first percentile over all patches of all "
        "frames. Fidelity is the lowest of the three.",
        *([_HEADS] if report.heads else []),
    ]


def markdown_table(sheet: Sheet) -> str:
    """The rows that are set off are bold."""
    lines = [
        [escape(heading.title) for heading in sheet.headings],
        ["---:" if heading.number else "---" for heading in sheet.headings],
        *(
            [f"**{escape(cell)}**" if index in sheet.strong else escape(cell) for cell in row]
            for index, row in enumerate(sheet.rows)
        ),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def bullets(lines: Iterable[str]) -> str:
    """A list; `lines` are escaped already."""
    return "\n".join(f"- {_MARKER.sub(_escaped, line)}" for line in lines)
