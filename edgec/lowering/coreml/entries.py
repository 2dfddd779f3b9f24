"""What entries of the table of operations have in common: an entry makes MIL's operation of one node."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import onnx
from onnx import helper

from edgec.errors import UnsupportedOperation
from edgec.graph.operations import HEADS

if TYPE_CHECKING:
    from edgec.lowering.coreml.program import Translator

Entry = Callable[["Translator", onnx.NodeProto], Any]


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def binary(kind: str) -> Entry:
    def entry(p: Translator, node: onnx.NodeProto) -> Any:
        if len(node.input) != 2:
            raise refusal(node, f"{len(node.input)} inputs")
        x, y = (p.tensor(name, p.half(node)) for name in node.input)
        return getattr(p.mb, kind)(x=x, y=y, name=p.name(node.name))

    return entry


def unary(kind: str) -> Entry:
    def entry(p: Translator, node: onnx.NodeProto) -> Any:
        return getattr(p.mb, kind)(x=p.tensor(node.input[0], p.half(node)), name=p.name(node.name))

    return entry


def refusal(node: onnx.NodeProto, what: str) -> UnsupportedOperation:
    """Of a node whose operation is translated, but not with this."""
    return UnsupportedOperation(
        f"Core ML's lowering has no translation of {node.op_type} with {what}.",
        evidence=f"the node {node.name}",
        remedy=remedy(node.name),
    )


def remedy(node: str) -> str:
    if node.startswith(HEADS):
        return f"export the head {node.split('.')[1]} without it, or leave that head out and run it on the features"
    return "report this with the checkpoint's form: no DINOv3 backbone needs it"


def reduction(kind: str) -> Entry:
    """Over the axes that the second input names; over all, without one."""

    def entry(p: Translator, node: onnx.NodeProto) -> Any:
        said = attributes(node)
        axes = p.array(node.input[1]).tolist() if len(node.input) > 1 and node.input[1] else []
        if not axes and said.get("noop_with_empty_axes", 0):
            raise refusal(node, "noop_with_empty_axes")
        return getattr(p.mb, kind)(
            x=p.tensor(node.input[0], p.half(node)),
            axes=p.integers(*(axes or range(len(p.shape(node.input[0]))))),
            keep_dims=p.number(bool(said.get("keepdims", 1))),
            name=p.name(node.name),
        )

    return entry


def padding(node: onnx.NodeProto, rank: int) -> list[int]:
    """By axis, before and behind: ONNX has all that is before, then all that is behind. Padding that follows from the size,
    `auto_pad`, is refused."""
    said = attributes(node)
    if said.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or (said.get("auto_pad") == b"VALID" and "pads" in said):
        raise refusal(node, "auto_pad")
    pads = said.get("pads", [0] * 2 * rank)
    return [pads[axis + side] for axis in range(rank) for side in (0, rank)]
