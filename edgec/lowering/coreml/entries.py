"""What entries of the table of operations have in common. An entry makes MIL's operation of one node of the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from edgec.errors import UnsupportedOperation
from edgec.graph.operations import HEADS
from edgec.graph.values import name_of

if TYPE_CHECKING:
    from edgec.lowering.coreml.program import Translator

Entry = Callable[["Translator", ir.Node], Any]


def attributes(node: ir.Node) -> dict[str, Any]:
    """The values of the attributes that the node has, by name."""
    return {name: entry.value for name, entry in node.attributes.items()}


def binary(kind: str) -> Entry:
    """MIL's operation `kind` of the node's two inputs."""

    def entry(p: Translator, node: ir.Node) -> Any:
        if len(node.inputs) != 2:
            raise refusal(node, f"{len(node.inputs)} inputs")
        x, y = (p.tensor(value, p.half(node)) for value in node.inputs)
        return getattr(p.mb, kind)(x=x, y=y, name=p.name(node))

    return entry


def unary(kind: str, **scalars: float) -> Entry:
    """MIL's operation `kind` of the node's first input. `scalars` are its other parameters with ONNX's defaults; where the node
    has an attribute of the same name, that is used."""

    def entry(p: Translator, node: ir.Node) -> Any:
        values = {name: attributes(node).get(name, default) for name, default in scalars.items()}
        constants = {name: p.scalar(node, value, name) for name, value in values.items()}
        return getattr(p.mb, kind)(x=p.first(node), **constants, name=p.name(node))

    return entry


def refusal(node: ir.Node, what: str) -> UnsupportedOperation:
    """The error for a node whose operation is translated, but not with `what`."""
    return UnsupportedOperation(
        f"Core ML's lowering has no translation of {node.op_type} with {what}.",
        evidence=f"the node {node.name}",
        remedy=remedy(node),
    )


def remedy(entry: ir.Node | ir.Value) -> str:
    """What the user can do about a node or tensor that has no translation."""
    if name_of(entry).startswith(HEADS):
        return f"export the head {name_of(entry).split('.')[1]} without it, or leave that head out and run it on the features"
    return "report this with the checkpoint's form: no DINOv3 backbone needs it"


def reduced_axes(p: Translator, node: ir.Node) -> list[int]:
    """The axes that the second input names, or all of them without one. Raises `UnsupportedOperation` for a node that reduces
    nothing."""
    axes = p.optional(node, 1)
    if (axes is None or not axes.size) and attributes(node).get("noop_with_empty_axes", 0):
        raise refusal(node, "noop_with_empty_axes")
    return axes.tolist() if axes is not None and axes.size else list(range(len(p.shape(node.inputs[0]))))


def reduction(kind: str) -> Entry:
    """MIL's reduction `kind` over `reduced_axes`."""

    def entry(p: Translator, node: ir.Node) -> Any:
        axes = reduced_axes(p, node)
        return getattr(p.mb, kind)(
            x=p.first(node),
            axes=p.integers(*axes),
            keep_dims=p.number(bool(attributes(node).get("keepdims", 1))),
            name=p.name(node),
        )

    return entry


def argument(kind: str) -> Entry:
    """ArgMax or ArgMin: int32, where ONNX has int64. Of equal values either may be taken."""

    def entry(p: Translator, node: ir.Node) -> Any:
        options = attributes(node)
        if options.get("select_last_index", 0):
            raise refusal(node, "select_last_index")
        return getattr(p.mb, kind)(
            x=p.first(node),
            axis=p.number(int(options.get("axis", 0))),
            keep_dims=p.number(bool(options.get("keepdims", 1))),
            name=p.name(node),
        )

    return entry


def convolution(p: Translator, node: ir.Node, kind: str, x: Any, weight: Any, pads: Sequence[int]) -> Any:
    """MIL's `conv` or `conv_transpose`, with the bias, strides, dilations and groups of the node."""
    options, rank = attributes(node), len(weight.shape) - 2
    return getattr(p.mb, kind)(
        x=x,
        weight=weight,
        **({"bias": p.tensor(node.inputs[2], p.half(node))} if len(node.inputs) > 2 else {}),
        strides=p.integers(*options.get("strides", [1] * rank)),
        pad=p.integers(*pads),
        pad_type=p.text("custom"),
        dilations=p.integers(*options.get("dilations", [1] * rank)),
        groups=p.number(int(options.get("group", 1))),
        name=p.name(node),
    )


def padding(node: ir.Node, rank: int) -> list[int]:
    """MIL's padding, (before, after) by axis. ONNX has all amounts before first, then all after. Raises `UnsupportedOperation`
    for `auto_pad`, by which the padding follows from the size."""
    options = attributes(node)
    if options.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or (options.get("auto_pad") == "VALID" and "pads" in options):
        raise refusal(node, "auto_pad")
    pads = options.get("pads", [0] * 2 * rank)
    return [pads[axis + side] for axis in range(rank) for side in (0, rank)]


def reshape(p: Translator, node: ir.Node) -> Any:
    """Reshape, Flatten, Squeeze, Unsqueeze: to the shape that the result is known to have."""
    shape = p.integers(*p.shape(node.outputs[0]))
    return p.mb.reshape(x=p.first(node), shape=shape, name=p.name(node))
