"""The patterns of what dense heads bring into a graph: maps that are resized, labels that are handed over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
from onnx import helper

from edgec.lowering.tensorrt.patterns import pattern
from edgec.lowering.tensorrt.view import View, label


@pattern
def resize_by(view: View, *, modes: list[str]) -> Iterator[str]:
    """Another way from an output's coordinates to the input's than these."""
    for node in _resizes(view):
        found = _attribute(node, "coordinate_transformation_mode", b"half_pixel").decode("utf-8", "replace")
        if found not in modes:
            yield f"{label(node)} ({found})"


@pattern
def resize_smoothed(view: View) -> Iterator[str]:
    """With antialiasing, or another aspect than was asked for."""
    for node in _resizes(view):
        if _attribute(node, "antialias", 0) or _attribute(node, "keep_aspect_ratio_policy", b"stretch") != b"stretch":
            yield label(node)


@pattern
def resize_outer(view: View, *, linear: int, cubic: int) -> Iterator[str]:
    """Interpolation over more than so many of the innermost dimensions."""
    for node in _resizes(view):
        inner = {b"linear": linear, b"cubic": cubic}.get(_attribute(node, "mode", b"nearest"))
        if inner is not None and any(_changes(view, node)[:-inner]):
            yield label(node)


@pattern
def output_type(view: View, *, types: list[str]) -> Iterator[str]:
    yield from (value.name for value in view.graph.output if view.kind(value.name) in types)


def _resizes(view: View) -> Iterator[onnx.NodeProto]:
    yield from (node for node in view.all_nodes if node.op_type == "Resize")


def _changes(view: View, node: onnx.NodeProto) -> list[bool]:
    """By dimension, whether it changes; nothing where that is not known. Axes are those of opset 18."""
    shape = view.shapes.get(node.input[0], ())
    given = [view.value(name) for name in (*node.input, "", "", "")[2:4]]
    found = next((value for value in given if value is not None and value.size), None)
    if found is None or not shape:
        return []
    axes = [axis % len(shape) for axis in _attribute(node, "axes", [*range(len(shape))])]
    if len(axes) != found.size:
        return []
    changed = [False] * len(shape)
    for axis, asked in zip(axes, found.ravel().tolist(), strict=True):
        changed[axis] = asked != (1.0 if found.dtype.kind == "f" else shape[axis])
    return changed


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """What a damaged file says instead of a value of the default's type is the default."""
    found = next((attribute for attribute in node.attribute if attribute.name == name), None)
    try:
        value = default if found is None else helper.get_attribute_value(found)
    except ValueError:
        return default
    return value if isinstance(value, type(default)) else default
