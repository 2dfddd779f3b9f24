"""`edgec check`: whether TensorRT versions accept a graph, what they are known to get wrong in it, and what NVIDIA's compiler
makes of it."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgec.cli import options
from edgec.cli.console import err, out

if TYPE_CHECKING:
    from edgec.lowering.tensorrt.check import Violation
    from edgec.records.compilation import Compilation

DEFAULT = ("8.6", "10.3", "10.13", "10.16", "11.4")
"""Those of JetPack 6.0 to 7.2, and the one that can be installed on the last."""
SMS = ("86", "120")
"""What stands for Orin and for Thor."""
SHOWN = 4


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("graph", type=options.PathType())
@click.option(
    "--tensorrt", "versions", multiple=True, metavar="VERSION",
    help="A TensorRT version, as in 10.3; may be given several times.  [default: those of JetPack 6.0 to 7.2, or an artefact's]",
)  # fmt: skip
@click.option(
    "--compile", "compiles", is_flag=True,
    help="Also hand it to NVIDIA's own parser and compiler, which need no GPU. Needs `pip install 'edgec[nvidia]'`.",
)  # fmt: skip
@click.option(
    "--sm", "sms", metavar="SM,…",
    help="GPUs to compile for, as in 86,121.  [default: 86,120, which stand for Orin and Thor]",
)  # fmt: skip
@options.as_json
def check(graph: Path, versions: tuple[str, ...], compiles: bool, sms: str | None, as_json: bool) -> int:
    """Check GRAPH against what TensorRT versions accept, and are known to get wrong.

    GRAPH is an .onnx file, edgec's or anybody's, or an artefact's directory. Each graph of an artefact for Jetsons is judged as
    its build judged it: by the versions that its boards have and that its precision is for. Nothing is run. Exit code 0: no
    errors, though there may be warnings. 1: errors, or the compiler refuses it. 2: no such file, version or SM. 5: the compiler
    is not installed. 8: the file is damaged, or no ONNX model.
    """
    from edgec.extras import require
    from edgec.lowering.tensorrt.graph_files import graphs_in

    graphs_to_check = graphs_in(graph)
    require("nvidia" if compiles else "build", "Checking a graph")
    machines = _machines(compiles, sms)

    from edgec.lowering.tensorrt.check import check_graph, read_graph  # imports onnx, which a path that names nothing needs not

    asked = tuple(dict.fromkeys(versions))
    versions_by_graph = {path: asked or _versions_of(path, graph) for path in graphs_to_check}
    findings_by_graph = {path: check_graph(read_graph(path), judged) for path, judged in versions_by_graph.items()}
    compiled = {path: _compile(path, machines) for path in findings_by_graph} if compiles else {}
    if as_json:
        graphs = [
            _graph_json(path, versions_by_graph[path], each) | _compiled_json(compiled.get(path, ()))
            for path, each in findings_by_graph.items()
        ]
        every = dict.fromkeys(version for judged in versions_by_graph.values() for version in judged)
        click.echo(json.dumps({"tensorrt": list(every), "graphs": graphs}, indent=2))
    else:
        for path, findings in findings_by_graph.items():
            _print(path, versions_by_graph[path], findings)
            _print_compiled(path, compiled.get(path, ()))
    refused = any(not each.accepted for group in compiled.values() for each in group)
    return int(refused or any(finding.is_error for findings in findings_by_graph.values() for finding in findings))


def _versions_of(path: Path, given: Path) -> tuple[str, ...]:
    """The versions to judge a graph by where none are asked for."""
    from edgec.backends.jetson.foresight import versions_of
    from edgec.records.manifest import MANIFEST, UPGRADES, Manifest
    from edgec.records.reading import read_record

    if not (given / MANIFEST).is_file():
        return DEFAULT
    manifest = read_record(given / MANIFEST, Manifest, "manifest", UPGRADES)
    return versions_of(path.stem, manifest.target) or DEFAULT


def _machines(compiles: bool, sms: str | None) -> tuple[str, ...]:
    from edgec.errors import RequestError
    from edgec.lowering.tensorrt.compiler.machines import parse_sms

    if sms is not None and not compiles:
        raise RequestError("--sm needs --compile.", remedy="add --compile, or leave out --sm")
    return parse_sms(sms or ",".join(SMS))


def _compile(path: Path, sms: tuple[str, ...]) -> tuple[Compilation, ...]:
    from edgec.lowering.tensorrt.compiler.compiling import compile_for_each

    with err.status(f"compiling {path.name}"):
        return tuple(each.summary for each in compile_for_each(path, dict.fromkeys(sms, ())))


def _print_compiled(path: Path, compiled: tuple[Compilation, ...]) -> None:
    from edgec.cli.kernels import print_compiled

    if compiled:
        out.print()
        print_compiled([(path.name, each) for each in compiled])


def _compiled_json(compiled: tuple[Compilation, ...]) -> dict[str, Any]:
    return {"compiled": [each.model_dump(mode="json") for each in compiled]} if compiled else {}


def _print(path: Path, tensorrt_versions: tuple[str, ...], findings: tuple[Violation, ...]) -> None:
    from rich.text import Text

    from edgec.records.reading import printable
    from edgec.report.sheets import sheet, texts
    from edgec.report.table import terminal_table

    errors = sum(finding.is_error for finding in findings)
    counted = f"{_count(errors, 'error')}, {_count(len(findings) - errors, 'warning')}"
    out.print(Text(f"{printable(str(path))} on TensorRT {', '.join(tensorrt_versions)}: {counted}"), soft_wrap=True)
    if not findings:
        return
    rows = [
        (finding.rule.severity, finding.rule.id, ", ".join(finding.versions), printable(_places(finding))) for finding in findings
    ]
    styles = {index: "red" if finding.is_error else "yellow" for index, finding in enumerate(findings)}
    out.print(terminal_table(sheet(texts("", "rule", "TensorRT", "where"), rows), width=out.width, styles=styles))
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


def _graph_json(path: Path, versions: tuple[str, ...], findings: tuple[Violation, ...]) -> dict[str, Any]:
    return {
        "graph": str(path),
        "tensorrt": list(versions),
        "errors": sum(finding.is_error for finding in findings),
        "warnings": sum(not finding.is_error for finding in findings),
        "findings": [
            {**finding.rule.model_dump(mode="json"), "versions": list(finding.versions), "places": list(finding.places)}
            for finding in findings
        ],
    }
