"""Whether the target can run the operations of heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgec.errors import UnsupportedOperation
from edgec.model.spec import Size
from edgec.request import Resolved
from edgec.text import shown

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgec.heads import Head


def require_operations(heads: Sequence[Head], shapes: Mapping[str, tuple[int, ...]], size: Size, resolved: Resolved) -> None:
    """Raises `UnsupportedOperation` for the first head that no runtime of the target can run whole. `shapes` are those of the
    features, by name."""
    from edgec.heads.attach import apart

    graphs = apart(heads, shapes, size)
    for head in heads:
        _require(head, graphs[head.name], resolved)


def _require(head: Head, graph: ir.Model, resolved: Resolved) -> None:
    refusals = []
    for runtime, precision in resolved.pairs:
        lowering = resolved.lowerings[runtime]
        if not lowering.availability().available:
            continue
        try:
            lowering.check_head(graph, resolved.backend.runtime_versions(precision, resolved.profiles))
            return
        except UnsupportedOperation as error:
            refusals.append((lowering.title, error))
    if refusals:
        title, first = refusals[0]
        raise UnsupportedOperation(
            f"The head {head.name} cannot run on {resolved.target}, which runs {title}.",
            evidence=(first.what, *first.evidence, f"head: {shown(head.path)}"),
            remedy=first.remedy or f"export the head {head.name} without it, or leave that head out and run it on the features",
        )
