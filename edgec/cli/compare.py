"""`edgec compare`: reports side by side, and how sure their difference is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgec.cli import options
from edgec.cli.console import err, out
from edgec.cli.recording import Record, checking

if TYPE_CHECKING:
    from edgec.report.compare.rendering import Rows
    from edgec.report.compare.sides import Side
    from edgec.report.compare.verdicts import Comparison, Gate
    from edgec.report.sheets import Sheet

_TONES = {"good": "green", "bad": "red", "open": "yellow"}
_COLUMNS = 4
"""With more sides than this, each side is a row."""


class PercentType(click.ParamType[float]):
    """A percentage above 0, with or without a percent sign."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Fails for what is no number above 0 and below 1000."""
        try:
            percent = float(str(value).strip().removesuffix("%"))
        except ValueError:
            percent = -1.0
        if not 0 < percent < 1000:
            self.fail(f"{value!r} is not a percentage, as in 5%", param, ctx)
        return percent


@click.command()
@click.argument("reports", nargs=-1, required=True, metavar="A B…", type=options.PathType())
@click.option(
    "--candidate", "candidates", multiple=True, metavar="NAME",
    help="Which candidate of the reports, if not the chosen one; given once for all, or once for each report.",
)  # fmt: skip
@click.option("--anyway", is_flag=True, help="Also show what is not comparable, with a warning.")
@click.option(
    "--fail-on-regression", "percent", type=PercentType(), metavar="PCT",
    help="End with exit code 17 if p50, p99 or fidelity is worse by more than this, as in 5%.",
)  # fmt: skip
@click.option(
    "--format", "style", type=click.Choice(["text", "md", "json", "html"]), default="text", show_default=True,
    help="What to print. html is a page of all reports, as `edgec report` makes it, with the comparison on top.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=options.PathType(written=True), metavar="FILE",
    help="Where the HTML page goes; standard output otherwise, if that is no terminal.",
)  # fmt: skip
@checking
def compare(
    reports: tuple[Path, ...],
    candidates: tuple[str, ...],
    anyway: bool,
    percent: float | None,
    style: str,
    output: Path | None,
    junit: Path | None,
    github: bool,
    undecided_fails: bool,
) -> None:
    """Compare reports, all with the first: the answer in a sentence, then ratios of latency with 95 % intervals, memory, size and
    fidelity.

    A and B are reports, artefacts, or folders of reports: several runs of one thing, which tell far more than one. A sweep's
    folder stands for all its artefacts. Refuses what was not measured under the same conditions.
    """
    from edgec.report.compare.conditions import require_comparable
    from edgec.report.compare.opening import open_side, with_cells
    from edgec.report.compare.verdicts import compare as judge
    from edgec.report.compare.verdicts import gate

    reports = tuple(with_cells(reports))
    names = _names(candidates, len(reports))
    _check_output(style, output)
    with Record("compare", junit, github) as record:
        sides = [open_side(path, name) for path, name in zip(reports, names, strict=True)]
        if not anyway:
            require_comparable(sides)
        comparisons = [judge(sides[0], other) for other in sides[1:]]
        looked_at = gate(comparisons, percent)
        gated = None if percent is None else looked_at
        record.add(*looked_at.checks)
        if style == "html":
            _publish(reports, output, sides, comparisons, gated)
        else:
            _show(style, sides, comparisons, gated)
        looked_at.enforce()
        if undecided_fails:
            record.require_decided()


def _names(candidates: Sequence[str], reports: int) -> list[str | None]:
    from edgec.errors import RequestError

    if reports < 2:
        raise RequestError("One report cannot be compared.", remedy="give two reports or more: edgec compare A B")
    if len(candidates) <= 1:
        return [candidates[0] if candidates else None] * reports
    if len(candidates) != reports:
        raise RequestError(
            f"--candidate is given {len(candidates)} times for {reports} reports.",
            remedy="give it once for all, or once for each, in their order",
        )
    return list(candidates)


def _check_output(style: str, output: Path | None) -> None:
    from edgec.cli.pages import require_place
    from edgec.errors import RequestError

    if style == "html":
        require_place(output)
    elif output is not None:
        raise RequestError("--output is for HTML pages.", remedy="add --format html, or redirect what is printed")


def _publish(
    reports: Sequence[Path], output: Path | None, sides: Sequence[Side], comparisons: Sequence[Comparison], gated: Gate | None
) -> None:
    from edgec.cli.pages import publish, subjects
    from edgec.report.html.page import Compared

    publish(subjects(reports), output, reports, Compared(tuple(sides), tuple(comparisons), gated))


def _show(style: str, sides: Sequence[Side], comparisons: Sequence[Comparison], gated: Gate | None) -> None:
    from edgec.report.compare.rendering import to_json, to_markdown

    if style == "json":
        import json

        click.echo(json.dumps(to_json(sides, comparisons, gated), indent=2))
    elif style == "md":
        click.echo(to_markdown(sides, comparisons, gated), nl=False)
    else:
        _print(sides, comparisons, gated)


def _print(sides: Sequence[Side], comparisons: Sequence[Comparison], gated: Gate | None) -> None:
    from rich.text import Text

    from edgec.cli.tables import facts_table
    from edgec.report.compare.answering import answers
    from edgec.report.compare.rendering import METHOD, gate_lines, gate_title, remarks, rows, verdict_sheet, warnings
    from edgec.report.table import terminal_table

    for answer in answers(comparisons):
        out.print(Text(answer.text, f"bold {_TONES[answer.tone]}"))
    out.print()
    compared = rows(sides, comparisons)
    out.print(terminal_table(_figures(compared, a_side_a_row=len(sides) > _COLUMNS), width=out.width, right=True))
    out.print()
    out.print(terminal_table(verdict_sheet(comparisons), width=out.width))
    out.print()
    out.print(Text(" ".join([METHOD, *remarks(comparisons)])))
    out.print(Text("\nthe same on all sides", "dim"))
    out.print(facts_table(compared.same))
    if gated is not None:
        out.print(Text(f"\n{gate_title(gated)}:"))
        for text in gate_lines(gated):
            out.print(Text(f"  {text}", "red" if text in gated.alarms else "yellow" if text in gated.blind else ""))
    for warning in warnings(sides, comparisons):
        err.print(Text(f"Warning: {warning}", "yellow"), soft_wrap=True)


def _figures(compared: Rows, *, a_side_a_row: bool) -> Sheet:
    """Figures first, then the facts that differ: a column a side, or a row."""
    from edgec.report.sheets import Heading, sheet, texts

    lines = sorted(compared.table, key=lambda line: not line[2])
    if not a_side_a_row:
        return sheet(texts("", *compared.sides), [(title, *cells) for title, cells, _ in lines])
    columns = [cells for _, cells, _ in lines]
    headings = (*texts("report"), *(Heading(title, number) for title, _, number in lines))
    return sheet(headings, [(name, *(cells[place] for cells in columns)) for place, name in enumerate(compared.sides)])
