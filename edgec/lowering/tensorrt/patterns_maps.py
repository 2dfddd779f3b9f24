"""The patterns that concern dense heads: maps that are resized, labels that are outputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx_ir as ir

from edgec.graph.values import shape_of
from edgec.lowering.tensorrt.patterns import found_at, pattern
from edgec.lowering.tensorrt.view import View, array, kind, label


def resizes(view: View) -> Iterator[tuple[ir.Node]]:
    """The Resize nodes, in branches and bodies too."""
    return ((node,) for node in view.graph.all_nodes() if node.op_type == "Resize")


@pattern
def resize_by(view: View, *, modes: list[str]) -> Iterator[str]:
    """Another mapping from an output's coordinates to the input's than these."""
    for (node,) in resizes(view):
        mode = _attribute(node, "coordinate_transformation_mode", "half_pixel")
        if mode not in modes:
            yield f"{label(node)} ({mode})"


@found_at(resizes)
def resize_smoothed(node: ir.Node) -> bool:
    """With antialiasing, or with another aspect ratio than the sizes have."""
    stretched = _attribute(node, "keep_aspect_ratio_policy", "stretch") == "stretch"
    return bool(_attribute(node, "antialias", 0)) or not stretched


@found_at(resizes)
def resize_outer(node: ir.Node, *, linear: int, cubic: int) -> bool:
    """Interpolation over more than so many of the innermost dimensions."""
    inner = {"linear": linear, "cubic": cubic}.get(_attribute(node, "mode", "nearest"))
    return inner is not None and any(_changes(node)[:-inner])


@pattern
def output_type(view: View, *, types: list[str]) -> Iterator[str]:
    """Outputs of the network of one of these types."""
    return (str(value.name) for value in view.graph.outputs if kind(value) in types)


def _changes(node: ir.Node) -> list[bool]:
    """By dimension, whether the Resize changes it; empty where that is not known. Axes are those of opset 18."""
    shape = shape_of(node.inputs[0]) if node.inputs[0] is not None else None
    written = [array(value) for value in (*node.inputs, None, None, None)[2:4]]
    resized = next((value for value in written if value is not None and value.size), None)
    if resized is None or not shape:
        return []
    axes = [axis % len(shape) for axis in _attribute(node, "axes", tuple(range(len(shape))))]
    if len(axes) != resized.size:
        return []
    changed = [False] * len(shape)
    for axis, side in zip(axes, resized.ravel().tolist(), strict=True):
        changed[axis] = side != (1.0 if resized.dtype.kind == "f" else shape[axis])
    return changed


def _attribute(node: ir.Node, name: str, default: Any) -> Any:
    """The attribute, or the default if it is absent or, in a damaged file, of another type."""
    attribute = node.attributes.get(name)
    return attribute.value if attribute is not None and isinstance(attribute.value, type(default)) else default
