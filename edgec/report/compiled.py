"""What a vendor's compiler made of graphs, as a table: for the terminal, for Markdown and for pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgec.records.compilation import Compilation
from edgec.records.reading import printable
from edgec.records.report import Report
from edgec.report.cells import ABSENT, megabytes, number
from edgec.report.sheets import Sheet, numbers, sheet, texts

HEADINGS = (
    *texts("graph"),
    *numbers("SM", "kernels", "attention"),
    *texts("products"),
    *numbers("moved MB", "const. MB", "act. MB", "engine MB", "s"),
)
NOTE = (
    "attention: how many are one kernel each. products: of the graph, by the type they run in. moved: read and written by all "
    "kernels of one run, constants aside. act.: memory for what passes between kernels. s: compile time. Nothing was run. "
    "This compiler does not know a Jetson's own SM: 86 stands for Orin, 120 for Thor."
)

Named = Sequence[tuple[str, Compilation]]
"""Compilations, each with the name of its graph."""


def compilations_of(report: Report) -> Named:
    """All compilations in a report, each with its candidate's name."""
    return [(candidate.name, each) for candidate in report.candidates for each in candidate.compilations]


def compiled_sheet(compilations: Named) -> Sheet | None:
    """A row for each graph and SM; None if nothing was compiled."""
    return sheet(HEADINGS, [_row(name, each) for name, each in compilations]) if compilations else None


def refusals(compilations: Named) -> list[str]:
    """Why graphs were refused, in the compiler's words."""
    return [f"{printable(name)}, SM {each.sm}: refused: {printable(each.refusal)}" for name, each in compilations if each.refusal]


def compiler_line(compilations: Iterable[Compilation]) -> str:
    """Who compiled, and what kind of evidence that is."""
    compilers = dict.fromkeys(f"{each.compiler}{f' (TensorRT {each.core})' if each.core else ''}" for each in compilations)
    kinds = dict.fromkeys(each.evidence.value for each in compilations)
    return f"{', '.join(compilers)}; {', '.join(kinds)}"


def _row(name: str, compiled: Compilation) -> tuple[str, ...]:
    """A refused graph has no counts; `refusals` says why."""
    if not compiled.accepted:
        return (name, compiled.sm, "refused", *[ABSENT] * (len(HEADINGS) - 3))
    fused = f"{compiled.attentions_fused}/{compiled.attentions}" if compiled.attentions else ABSENT
    products = ", ".join(f"{kind} {count}" for kind, count in compiled.products.items())
    sizes = (compiled.moved_bytes, compiled.constant_bytes, compiled.activation_bytes, compiled.engine_bytes)
    figures = (*map(megabytes, sizes), number(compiled.compile_s, ".1f"))
    return (name, compiled.sm, str(compiled.kernels), fused, products or ABSENT, *figures)
