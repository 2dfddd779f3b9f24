"""`edgec explain ARTEFACT --kernels`: what NVIDIA's compiler makes of the artefact's graph, kernel by kernel."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from edgec.cli.console import err, out, wide

if TYPE_CHECKING:
    from edgec.artefact.reading import OpenArtefact
    from edgec.records.compilation import Compilation

DEFAULT_SM = "86"
"""Which stands for Orin."""
_WIDTH = 120


def show_kernels(artefact: OpenArtefact, sm: str | None, *, as_json: bool) -> None:
    """Compile the shipped graph and print its kernels, block by block.

    Raises `RequestError` if the artefact is not for TensorRT or `sm` is none, `TargetError` if the compiler is not installed,
    `RuntimeFailure` if it refuses the graph.
    """
    from rich.text import Text

    from edgec.errors import RequestError, RuntimeFailure
    from edgec.extras import require
    from edgec.lowering.tensorrt.compiler.machines import parse_sms
    from edgec.report.kernels import kernels_json, kernels_sheet, parts
    from edgec.report.table import terminal_table

    manifest = artefact.manifest
    if manifest.runtime != "tensorrt":
        raise RequestError(
            "Only graphs for TensorRT have kernels that can be seen without running them.",
            evidence=f"{artefact.directory} is for {manifest.runtime}",
            remedy="leave out --kernels, or build with --target jetson",
        )
    require("nvidia", "Showing a graph's kernels")
    from edgec.lowering.tensorrt.compiler.compiling import compile_graph

    (machine,) = parse_sms(sm or DEFAULT_SM)[:1]
    graph = artefact.directory / manifest.entry
    with err.status(f"compiling {graph.name}"):
        compiled = compile_graph(graph, machine)
    if not compiled.summary.accepted:
        raise RuntimeFailure(
            f"NVIDIA's compiler refuses {graph.name} for SM {machine}.",
            evidence=[compiled.summary.compiler, compiled.summary.refusal],
        )
    if as_json:
        document = {"compiled": compiled.summary.model_dump(mode="json"), "kernels": kernels_json(compiled.kernels)}
        click.echo(json.dumps(document, indent=2))
        return
    print_compiled([(graph.name, compiled.summary)])
    for part in parts(compiled.kernels):
        out.print()
        out.print(Text(part.title, "bold"), soft_wrap=True)
        width = out.width if out.is_terminal else max(out.width, _WIDTH)
        wide(width).print(terminal_table(kernels_sheet(part), width=width))


def print_compiled(compilations: Sequence[tuple[str, Compilation]]) -> None:
    """What the compiler made of graphs, by name, and what the figures mean."""
    from edgec.cli.tables import print_rows
    from edgec.report.compiled import NOTE, compiled_sheet, compiler_line, refusals

    table = compiled_sheet(compilations)
    if table is None:
        return
    out.print(compiler_line([each for _, each in compilations]), soft_wrap=True)
    print_rows(table)
    for line in (*refusals(compilations), NOTE):
        out.print(textwrap.fill(line, out.width), soft_wrap=True)
