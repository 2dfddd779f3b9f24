"""A comparison as rows of plain text, as Markdown, and as what JSON holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgec.latency.bootstrap import CONFIDENCE, POWER
from edgec.records.reading import printable
from edgec.report.cells import ABSENT, ms_cell
from edgec.report.compare.answering import answers, side_names
from edgec.report.compare.conditions import FACTS, FIGURES, compiled_figures, head_figures, held_back
from edgec.report.compare.sides import Side
from edgec.report.compare.verdicts import COSINES, Comparison, Gate, Judged
from edgec.report.decisions import FIGURES as FIGURE_NAMES
from edgec.report.decisions import figure
from edgec.report.markdown import escape, markdown_table
from edgec.report.sheets import Sheet, numbers, sheet, texts

JSON_VERSION = 1
_FEW = 3
_ALWAYS = ("p50 ms", "p99 ms")
AT_ONE_SPEED = "p50 ms at equal machine speed"

METHOD = (
    "Time ratios are to the first: below 1 is less time. Their 95 % intervals are of a bootstrap of processes and of blocks. "
    "Would notice: the slowdown that such data shows four times out of five."
)


@dataclass(frozen=True)
class Rows:
    """`same` are facts that all sides share, by title; `table` has a row for each fact that differs and for each figure, with a
    cell for each side."""

    sides: tuple[str, ...]
    same: tuple[tuple[str, str], ...]
    table: tuple[tuple[str, tuple[str, ...], bool], ...]
    """Title, cells, and whether they are numbers."""


def rows(sides: Sequence[Side], comparisons: Sequence[Comparison] = ()) -> Rows:
    """Facts that all sides share, then facts that differ and figures, with a cell for each side. Where the machine's own speed
    was taken out of a ratio, a row has the times that this ratio is of."""
    facts = [(fact.title, tuple(fact.cell(side) for side in sides)) for fact in FACTS]
    figures = [
        (fact.title, tuple(fact.cell(side) for side in sides), True)
        for fact in (*FIGURES, *compiled_figures(sides), *head_figures(sides))
    ]
    figures = [figure for figure in figures if figure[0] in _ALWAYS or set(figure[1]) != {ABSENT}]
    same = tuple((title, cells[0]) for title, cells in facts if len(set(cells)) == 1)
    table = tuple((title, cells, False) for title, cells in facts if len(set(cells)) > 1)
    if any(each.pace is not None for each in comparisons):
        place = next(index for index, (title, _, _) in enumerate(figures) if title == "p50 ms") + 1
        figures.insert(place, (AT_ONE_SPEED, (ms_cell(sides[0].quantile_ms("p50", 0.5)), *map(_at_one_speed, comparisons)), True))
    return Rows(tuple(side_names(sides)), same, (*table, *figures))


def _at_one_speed(each: Comparison) -> str:
    first, judged = each.first.quantile_ms("p50", 0.5), each.latency[0]
    if each.pace is None or judged.ratio is None or first is None:
        return ms_cell(each.second.quantile_ms("p50", 0.5))
    return ms_cell(first * judged.ratio.value)


_VERDICT_HEADINGS = (
    texts("against the first", "figure") + numbers("time ratio", "95 % interval") + texts("verdict") + numbers("would notice")
)


def verdict_sheet(comparisons: Sequence[Comparison]) -> Sheet:
    """A row a figure of each comparison. Of two sides the second is compared with the first, which needs no column."""
    begin = 1 if len(comparisons) == 1 else 0
    return sheet(_VERDICT_HEADINGS[begin:], [row[begin:] for row in verdict_rows(comparisons)])


def verdict_rows(comparisons: Sequence[Comparison]) -> list[tuple[str, ...]]:
    """A row a figure of each comparison, as `_VERDICT_HEADINGS` name the cells."""
    if not comparisons:
        return []
    names = side_names([comparisons[0].first, *(each.second for each in comparisons)])[1:]
    return [
        (name, judged.figure, *_cells(judged)) for each, name in zip(comparisons, names, strict=True) for judged in each.latency
    ]


def _cells(judged: Judged) -> tuple[str, str, str, str]:
    ratio, verdict = judged.ratio, judged.why_not if judged.verdict is None else judged.verdict.value
    if ratio is None:
        return ABSENT, ABSENT, verdict, ABSENT
    return f"{ratio.value:.3f}", f"{ratio.low:.3f} to {ratio.high:.3f}", verdict, f"{100 * (ratio.shown - 1):.1f} %"


def remarks(comparisons: Sequence[Comparison]) -> list[str]:
    """How much of the ratios was the machine's speed, and was taken out: a sentence for each comparison, or one for many."""
    paced = [(each, each.pace) for each in comparisons if each.pace is not None]
    if len(paced) > _FEW:
        least, most = (f"{100 * (pick(pace for _, pace in paced) - 1):+.1f} %" for pick in (min, max))
        return [
            f"The machine itself, by its reference work, took {least} to {most} time against "
            f"{printable(comparisons[0].first.name)}; that is taken out of the ratios."
        ]
    return [
        f"The machine itself, by its reference work, took {abs(100 * (pace - 1)):.1f} % {'more' if pace > 1 else 'less'} time "
        f"for {printable(each.second.name)} than for {printable(each.first.name)}; that is taken out of the ratios."
        for each, pace in paced
    ]


def warnings(sides: Sequence[Side], comparisons: Sequence[Comparison]) -> list[str]:
    """What a reader must know before believing the figures, one sentence each."""
    lines = [
        f"Not comparable: {each.title} is {each.first} in {printable(comparison.first.name)} and {each.second} in "
        f"{printable(comparison.second.name)}."
        for comparison in comparisons
        for each in comparison.differences
    ]
    lines += [f"Not comparable: {text}." for each in comparisons for text in each.tasks.alone]
    lines += [f"Kernels and traffic are not comparable: {text}." for each in comparisons for text in each.compilations.apart]
    lines += [f"{text[0].upper()}{text[1:]}." for each in comparisons for text in each.tasks.other]
    for side in sides:
        name = printable(side.name)
        lines += [f"{held}."] if (held := held_back(side)) else []
        if side.report.model.random_weights:
            lines.append(f"{name} has random weights: its fidelity is against itself.")
    frames = {(side.report.calibration, side.fidelity.frames) for side in sides if side.fidelity}
    if len(frames) > 1:
        lines.append("Fidelity was judged on different frames, or after different calibration.")
    if len(comparisons) > 1:
        lines.append(f"Of {2 * len(comparisons)} comparisons at 95 %, one in twenty shows a difference by chance.")
    return lines


def to_markdown(sides: Sequence[Side], comparisons: Sequence[Comparison], gated: Gate | None) -> str:
    """Text that comes from files is escaped: it cannot break a table or become a link or a tag."""
    compared = rows(sides, comparisons)
    table = sheet(texts("") + numbers(*compared.sides), [(title, *cells) for title, cells, _ in compared.table])
    parts = [
        "# Comparison",
        "\n".join(f"**{escape(answer.text)}**  " for answer in answers(comparisons)).rstrip(),
        "\n".join(f"- {title}: {escape(cell)}" for title, cell in compared.same),
        markdown_table(table),
        markdown_table(verdict_sheet(comparisons)),
        METHOD,
        "\n".join(f"- {escape(text)}" for text in remarks(comparisons)),
        "\n".join(f"- **{escape(text)}**" for text in warnings(sides, comparisons)),
    ]
    if gated is not None:
        parts += [f"## {gate_title(gated)}", "\n".join(f"- {escape(line)}" for line in gate_lines(gated))]
    return "\n\n".join(part for part in parts if part) + "\n"


def gate_title(gated: Gate) -> str:
    """Above the gate's lines."""
    return f"Regressions of more than {gated.percent or 0:g} %"


def gate_lines(gated: Gate) -> list[str]:
    """Regressions, then what could not be judged; "none" where there is neither."""
    return [*gated.alarms, *gated.blind] if gated.alarms or gated.blind else ["none"]


def to_json(sides: Sequence[Side], comparisons: Sequence[Comparison], gated: Gate | None) -> dict[str, Any]:
    """Figures as numbers, and null where there are none."""
    return {
        "schema_version": JSON_VERSION,
        "confidence": CONFIDENCE,
        "power": POWER,
        "sides": [_side(side) for side in sides],
        "comparisons": [
            {
                "first": each.first.name,
                "second": each.second.name,
                "differences": [asdict(difference) for difference in each.differences],
                "latency": {
                    judged.figure: {
                        "verdict": judged.verdict and judged.verdict.value,
                        "why_not": judged.why_not or None,
                        "ratio": judged.ratio and asdict(judged.ratio),
                    }
                    for judged in each.latency
                },
                "fidelity": each.fidelity or None,
                "heads": [
                    {
                        "output": change.what.output,
                        "figure": FIGURE_NAMES[change.what.measure],
                        "first": figure(change.first),
                        "second": figure(change.second),
                    }
                    for change in each.tasks.changes
                ],
                "compilations": {
                    "changes": [asdict(change) for change in each.compilations.changes],
                    "refused": list(each.compilations.refused),
                    "not_comparable": list(each.compilations.apart),
                },
                "pace": each.pace,
            }
            for each in comparisons
        ],
        "answers": [answer.text for answer in answers(comparisons)],
        "warnings": warnings(sides, comparisons),
        "gate": None if gated is None else {"percent": gated.percent, "alarms": gated.alarms, "blind": gated.blind},
    }


def _side(side: Side) -> dict[str, Any]:
    fidelity, cold = side.fidelity, side.cold_start
    return {
        "name": side.name,
        "reports": len(side.reports),
        "artefact_sha256": side.report.artefact_sha256,
        **{fact.title.replace(" ", "_"): fact.cell(side) for fact in FACTS},
        "input_shape": side.report.input_shape,
        "p50_ms": side.quantile_ms("p50", 0.50),
        "p99_ms": side.quantile_ms("p99", 0.99),
        "max_ms": side.max_ms,
        "yardstick_ms": side.pace_ms,
        "peak_rss_bytes": cold and cold.peak_rss_bytes,
        "size_bytes": side.candidate.size_bytes,
        "fidelity": {field: getattr(fidelity, field) for field in COSINES} if fidelity else None,
        "heads": [task.model_dump(mode="json", exclude_none=True) for task in fidelity.tasks] if fidelity else [],
    }
