"""What entries of the table of operations have in common: an entry makes MIL's operation of one node."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from edgec.errors import UnsupportedOperation
from edgec.graph.operations import HEADS
from edgec.graph.values import name_of

if TYPE_CHECKING:
    from edgec.lowering.coreml.program import Translator

Entry = Callable[["Translator", ir.Node], Any]


def attributes(node: ir.Node) -> dict[str, Any]:
    """What the node says, by name."""
    return {name: entry.value for name, entry in node.attributes.items()}


def binary(kind: str) -> Entry:
    def entry(p: Translator, node: ir.Node) -> Any:
        if len(node.inputs) != 2:
            raise refusal(node, f"{len(node.inputs)} inputs")
        x, y = (p.tensor(value, p.half(node)) for value in node.inputs)
        return getattr(p.mb, kind)(x=x, y=y, name=p.name(node))

    return entry


def unary(kind: str) -> Entry:
    def entry(p: Translator, node: ir.Node) -> Any:
        return getattr(p.mb, kind)(x=p.tensor(node.inputs[0], p.half(node)), name=p.name(node))

    return entry


def refusal(node: ir.Node, what: str) -> UnsupportedOperation:
    """Of a node whose operation is translated, but not with this."""
    return UnsupportedOperation(
        f"Core ML's lowering has no translation of {node.op_type} with {what}.",
        evidence=f"the node {node.name}",
        remedy=remedy(node),
    )


def remedy(entry: ir.Node | ir.Value) -> str:
    """For whatever of a head, or of a backbone, has no translation."""
    if name_of(entry).startswith(HEADS):
        return f"export the head {name_of(entry).split('.')[1]} without it, or leave that head out and run it on the features"
    return "report this with the checkpoint's form: no DINOv3 backbone needs it"


def reduction(kind: str) -> Entry:
    """Over the axes that the second input names; over all, without one."""

    def entry(p: Translator, node: ir.Node) -> Any:
        said = attributes(node)
        axes = p.array(node.inputs[1]).tolist() if len(node.inputs) > 1 and node.inputs[1] else []
        if not axes and said.get("noop_with_empty_axes", 0):
            raise refusal(node, "noop_with_empty_axes")
        return getattr(p.mb, kind)(
            x=p.tensor(node.inputs[0], p.half(node)),
            axes=p.integers(*(axes or range(len(p.shape(node.inputs[0]))))),
            keep_dims=p.number(bool(said.get("keepdims", 1))),
            name=p.name(node),
        )

    return entry


def padding(node: ir.Node, rank: int) -> list[int]:
    """By axis, before and behind: ONNX has all that is before, then all that is behind. Padding that follows from the size,
    `auto_pad`, is refused."""
    said = attributes(node)
    if said.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or (said.get("auto_pad") == "VALID" and "pads" in said):
        raise refusal(node, "auto_pad")
    pads = said.get("pads", [0] * 2 * rank)
    return [pads[axis + side] for axis in range(rank) for side in (0, rank)]
