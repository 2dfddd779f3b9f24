"""The patterns of what dense heads bring into a graph: maps that are resized, labels that are handed over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx_ir as ir

from edgec.graph.values import shape_of
from edgec.lowering.tensorrt.patterns import pattern
from edgec.lowering.tensorrt.view import View, array, kind, label


@pattern
def resize_by(view: View, *, modes: list[str]) -> Iterator[str]:
    """Another way from an output's coordinates to the input's than these."""
    for node in _resizes(view):
        way = _attribute(node, "coordinate_transformation_mode", "half_pixel")
        if way not in modes:
            yield f"{label(node)} ({way})"


@pattern
def resize_smoothed(view: View) -> Iterator[str]:
    """With antialiasing, or another aspect than was asked for."""
    for node in _resizes(view):
        if _attribute(node, "antialias", 0) or _attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
            yield label(node)


@pattern
def resize_outer(view: View, *, linear: int, cubic: int) -> Iterator[str]:
    """Interpolation over more than so many of the innermost dimensions."""
    for node in _resizes(view):
        inner = {"linear": linear, "cubic": cubic}.get(_attribute(node, "mode", "nearest"))
        if inner is not None and any(_changes(node)[:-inner]):
            yield label(node)


@pattern
def output_type(view: View, *, types: list[str]) -> Iterator[str]:
    yield from (str(value.name) for value in view.graph.outputs if kind(value) in types)


def _resizes(view: View) -> Iterator[ir.Node]:
    yield from (node for node in view.graph.all_nodes() if node.op_type == "Resize")


def _changes(node: ir.Node) -> list[bool]:
    """By dimension, whether it changes; nothing where that is not known. Axes are those of opset 18."""
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
    """What a damaged file says instead of a value of the default's type is the default."""
    attribute = node.attributes.get(name)
    return attribute.value if attribute is not None and isinstance(attribute.value, type(default)) else default
