"""What a vendor's compiler said of graphs, as rows: for the terminal, and for reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from edgec.records.compilation import Compilation
from edgec.records.reading import printable
from edgec.records.report import Report

TITLES = ("graph", "SM", "kernels", "attention", "products", "moved MB", "const. MB", "act. MB", "engine MB", "s")
NUMBERS = (False, True, True, True, False, True, True, True, True, True)
"""Which of the columns are numbers."""
NOTE = (
    "attention: how many are one kernel each. products: of the graph, by the type they run in. moved: read and written by all "
    "kernels of one run, constants aside. act.: memory for what passes between kernels. s: compile time. Nothing was run. "
    "An SM stands for a Jetson's own, which this compiler does not know: 86 for Orin, 120 for Thor."
)


def named(report: Report) -> list[tuple[str, Compilation]]:
    """All compilations in a report, each with its candidate's name."""
    return [(candidate.name, each) for candidate in report.candidates for each in candidate.compilations]


def row(graph: str, compiled: Compilation) -> tuple[str, ...]:
    """One cell a title. A refused graph has no counts; its refusal stands below the table (`refusals`)."""
    if not compiled.accepted:
        return (graph, compiled.sm, "refused", *("-" for _ in TITLES[3:]))
    fused = f"{compiled.attentions_fused}/{compiled.attentions}" if compiled.attentions else "-"
    products = ", ".join(f"{kind} {count}" for kind, count in compiled.products.items())
    sizes = (compiled.moved_bytes, compiled.constant_bytes, compiled.activation_bytes, compiled.engine_bytes)
    figures = (*(f"{size / 1e6:.1f}" for size in sizes), f"{compiled.compile_s:.1f}")
    return (graph, compiled.sm, str(compiled.kernels), fused, products or "-", *figures)


def refusals(compilations: Iterable[tuple[str, Compilation]]) -> list[str]:
    """Why graphs were refused, in the compiler's words."""
    return [f"{graph}, SM {each.sm}: refused: {printable(each.refusal)}" for graph, each in compilations if not each.accepted]


def compiler_line(compilations: Sequence[Compilation]) -> str:
    """Who compiled, and what that is worth."""
    names = dict.fromkeys(f"{each.compiler}{f' (TensorRT {each.core})' if each.core else ''}" for each in compilations)
    kinds = dict.fromkeys(each.evidence.value for each in compilations)
    return f"{', '.join(names)}; {', '.join(kinds)}"


def compiled_table(compilations: Sequence[tuple[str, Compilation]]) -> Table:
    """A row a graph and SM, for the terminal."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title, number in zip(TITLES, NUMBERS, strict=True):
        table.add_column(title, justify="right" if number else "left", no_wrap=True, header_style="bold")
    for graph, compiled in compilations:
        table.add_row(*(Text(printable(cell)) for cell in row(graph, compiled)))
    return table
