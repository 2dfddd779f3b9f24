"""`edgec check`: whether TensorRT versions accept a graph, and what they are known to get wrong in it."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgec.cli import options
from edgec.cli.console import out

if TYPE_CHECKING:
    from edgec.lowering.tensorrt.check import Violation

DEFAULT = ("8.6", "10.3", "10.13", "10.16", "11.4")
"""Those of JetPack 6.0 to 7.2, and the one that can be installed on the last."""
SHOWN = 4


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("graph", type=options.PathType())
@click.option(
    "--tensorrt", "versions", multiple=True, metavar="VERSION",
    help="A TensorRT version, as in 10.3; may be given several times.  [default: those of JetPack 6.0 to 7.2]",
)  # fmt: skip
@options.as_json
def check(graph: Path, versions: tuple[str, ...], as_json: bool) -> int:
    """Check GRAPH against what TensorRT versions accept, and are known to get wrong.

    GRAPH is an .onnx file, edgec's or anybody's, or an artefact's directory. Nothing is built or run. Exit code 0: no errors,
    though there may be warnings. 1: errors. 2: no such file or version. 8: the file is damaged, or no ONNX model.
    """
    from edgec.lowering.tensorrt.check import check_graph, graphs_in, read_graph

    tensorrt_versions = tuple(dict.fromkeys(versions or DEFAULT))
    findings_by_graph = {path: check_graph(read_graph(path), tensorrt_versions) for path in graphs_in(graph)}
    if as_json:
        click.echo(
            json.dumps(
                {
                    "tensorrt": list(tensorrt_versions),
                    "graphs": [_graph_json(path, each) for path, each in findings_by_graph.items()],
                },
                indent=2,
            )
        )
    else:
        for path, findings in findings_by_graph.items():
            _print(path, tensorrt_versions, findings)
    return int(any(finding.is_error for findings in findings_by_graph.values() for finding in findings))


def _print(path: Path, tensorrt_versions: tuple[str, ...], findings: tuple[Violation, ...]) -> None:
    from rich.table import Table
    from rich.text import Text

    from edgec.records.reading import printable

    errors = sum(finding.is_error for finding in findings)
    counted = f"{_count(errors, 'error')}, {_count(len(findings) - errors, 'warning')}"
    out.print(Text(f"{printable(str(path))} on TensorRT {', '.join(tensorrt_versions)}: {counted}"), soft_wrap=True)
    if not findings:
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("rule", no_wrap=True)
    table.add_column("TensorRT", overflow="fold")
    table.add_column("where", overflow="fold")
    for finding in findings:
        style = "red" if finding.is_error else "yellow"
        cells = (Text(finding.rule.severity, style), finding.rule.id, Text(", ".join(finding.versions)))
        table.add_row(*cells, Text(printable(_places(finding))))
    out.print(table)
    for rule in dict.fromkeys(finding.rule.id for finding in findings):
        chosen = next(finding.rule for finding in findings if finding.rule.id == rule)
        out.print()
        out.print(Text(rule, "bold"))
        for text in (chosen.consequence, f"To do: {chosen.remedy}.", f"Source: {chosen.source}."):
            out.print(Text(textwrap.fill(text, out.width, initial_indent="  ", subsequent_indent="  ")), soft_wrap=True)


def _places(finding: Violation) -> str:
    first = ", ".join(finding.places[:SHOWN])
    more = len(finding.places) - SHOWN
    return f"{first} and {more} more" if more > 0 else first


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _graph_json(path: Path, findings: tuple[Violation, ...]) -> dict[str, Any]:
    return {
        "graph": str(path),
        "errors": sum(finding.is_error for finding in findings),
        "warnings": sum(not finding.is_error for finding in findings),
        "findings": [
            {**finding.rule.model_dump(mode="json"), "versions": list(finding.versions), "places": list(finding.places)}
            for finding in findings
        ],
    }
