"""The hub graph in opset 17, the newest that TensorRT 8.6 (JetPack 6.0) knows; later versions take it too.

What opset 18 changed is said in the older way where the older way can say it: the backbone needs two such changes, heads the
others. Source: onnx-tensorrt, docs/operators.md of release 8.6; ONNX, docs/Changelog.md, version 18.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgec.errors import UnsupportedOperation
from edgec.graph.contract import shape_of
from edgec.graph.passes.prune import refill

OPSET = 17
IR_VERSION = 8
"""The file format of ONNX 1.13, which TensorRT 8.6 was made with."""

REDUCTIONS = (
    *("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
    *("ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"),
)
"""Those whose axes became an input. ReduceSum's had been one before."""


class _Graph:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._constants = {entry.name: entry for entry in model.graph.initializer}
        values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
        self._shapes = {value.name: shape_of(value) for value in values}

    def constant(self, node: onnx.NodeProto, index: int) -> NDArray[Any] | None:
        """The value of an optional input. Raises `ValueError` if it is computed."""
        name = node.input[index] if index < len(node.input) else ""
        if not name:
            return None
        if name not in self._constants:
            raise ValueError(f"{name} is computed as the model runs")
        return numpy_helper.to_array(self._constants[name])

    def shape(self, tensor: str) -> tuple[int, ...]:
        entry = self._constants.get(tensor)
        shape = tuple(entry.dims) if entry is not None else self._shapes.get(tensor)
        if shape is None:
            raise ValueError(f"{tensor} has no static shape")
        return shape

    def add(self, name: str, value: NDArray[Any]) -> str:
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name


def to_opset_17(model: onnx.ModelProto) -> onnx.ModelProto:
    """A new model. Raises `UnsupportedOperation` for an operator that opset 17 has not, or has with another meaning."""
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    from_opset = model.opset_import[0].version
    graph = _Graph(lowered)
    _spell_out_mish(lowered)
    strange: dict[str, str] = {}
    for node in lowered.graph.node:
        try:
            if node.op_type in _OLDER:
                _OLDER[node.op_type](node, graph)
            elif not _same(node.op_type, from_opset):
                raise ValueError(f"absent there, or of another meaning than in opset {from_opset}")
        except ValueError as problem:
            strange.setdefault(node.op_type, str(problem))
    if strange:
        raise UnsupportedOperation(
            f"The graph cannot be written in ONNX opset {OPSET}, the newest that every board's TensorRT reads.",
            evidence=[f"{kind}: {strange[kind]}" for kind in sorted(strange)],
            remedy="export heads without these; if there is none, report this with the versions that `edgec doctor` prints",
        )
    read = {name for node in lowered.graph.node for name in node.input}
    for index in reversed(range(len(lowered.graph.initializer))):
        if lowered.graph.initializer[index].name not in read:
            del lowered.graph.initializer[index]
    lowered.opset_import[0].version, lowered.ir_version = OPSET, IR_VERSION
    return lowered


def _spell_out_mish(model: onnx.ModelProto) -> None:
    """x · tanh(softplus(x)), which is what ONNX defines it by: opset 18 brought the operator, TensorRT 10.0 its importer."""
    graph = model.graph
    if not any(node.op_type == "Mish" for node in graph.node):
        return
    known = {value.name: value for value in (*graph.input, *graph.output, *graph.value_info)}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != "Mish":
            nodes.append(node)
            continue
        soft, bent = f"{node.output[0]}.softplus", f"{node.output[0]}.tanh"
        nodes.append(helper.make_node("Softplus", [node.input[0]], [soft], name=f"{node.name}.softplus"))
        nodes.append(helper.make_node("Tanh", [soft], [bent], name=f"{node.name}.tanh"))
        nodes.append(helper.make_node("Mul", [node.input[0], bent], [node.output[0]], name=node.name))
        for name in (soft, bent) if node.output[0] in known else ():
            graph.value_info.add().CopyFrom(known[node.output[0]])
            graph.value_info[-1].name = name
    refill(graph.node, nodes)


def _reshape(node: onnx.NodeProto, graph: _Graph) -> None:
    """It says what a zero in the new shape means, and static shapes hold none."""
    _drop(node, "allowzero")


def _reduction(node: onnx.NodeProto, graph: _Graph) -> None:
    axes, nothing = graph.constant(node, 1), _attribute(node, "noop_with_empty_axes", 0)
    if nothing and (axes is None or axes.size == 0):
        raise ValueError("one that reduces nothing")
    _drop(node, "noop_with_empty_axes")
    if len(node.input) > 1:
        del node.input[1:]
    if axes is not None and axes.size:
        node.attribute.append(helper.make_attribute("axes", [int(axis) for axis in axes]))


def _resize(node: onnx.NodeProto, graph: _Graph) -> None:
    """Antialiasing and policies of aspect are new, and so are the axes that are meant, which are written out."""
    if _attribute(node, "antialias", 0):
        raise ValueError("with antialiasing, which TensorRT has not")
    if _attribute(node, "keep_aspect_ratio_policy", b"stretch") != b"stretch":
        raise ValueError("with a policy for the aspect, of which TensorRT knows stretching alone")
    if _attribute(node, "coordinate_transformation_mode", b"") == b"half_pixel_symmetric":
        raise ValueError("by half_pixel_symmetric")
    axes = _attribute(node, "axes", None)
    _drop(node, "antialias", "keep_aspect_ratio_policy", "axes")
    shape = graph.shape(node.input[0])
    if axes is None or [axis % len(shape) for axis in axes] == list(range(len(shape))):
        return
    for index, whole in ((2, np.ones(len(shape), np.float32)), (3, np.array(shape, np.int64))):
        given = graph.constant(node, index)
        if given is not None and given.size:
            whole[list(axes)] = given
            node.input[index] = graph.add(f"{node.name}.all_axes{index}", whole)


def _split(node: onnx.NodeProto, graph: _Graph) -> None:
    """Into a number of equal parts, the last of which may be smaller: then the sizes are written out."""
    parts = _attribute(node, "num_outputs", None)
    _drop(node, "num_outputs")
    if parts is None or len(node.input) > 1:
        return
    shape = graph.shape(node.input[0])
    side = shape[_attribute(node, "axis", 0)]
    size = ceil(side / parts)
    if side % parts:
        sizes = [size] * (parts - 1) + [side - size * (parts - 1)]
        node.input.append(graph.add(f"{node.name}.sizes", np.array(sizes, np.int64)))


def _pad(node: onnx.NodeProto, graph: _Graph) -> None:
    """The axes that are meant are new, and written out."""
    axes = graph.constant(node, 3)
    if len(node.input) > 3:
        del node.input[3:]
    if axes is not None:
        shape, given = graph.shape(node.input[0]), graph.constant(node, 1)
        if given is None:
            raise ValueError("without a padding")
        pads = np.zeros((2, len(shape)), np.int64)
        pads[:, list(axes)] = given.reshape(2, -1)
        node.input[1] = graph.add(f"{node.name}.all_axes", pads.reshape(-1))


def _scatter(node: onnx.NodeProto, graph: _Graph) -> None:
    """Its reductions by the largest and the smallest are new."""
    if _attribute(node, "reduction", b"none") not in (b"none", b"add", b"mul"):
        raise ValueError("of the largest or the smallest")


_OLDER: Mapping[str, Callable[[onnx.NodeProto, _Graph], None]] = {
    "Reshape": _reshape,
    "Resize": _resize,
    "Split": _split,
    "Pad": _pad,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
    **dict.fromkeys(REDUCTIONS, _reduction),
}


def _same(kind: str, opset: int) -> bool:
    try:
        return bool(onnx.defs.get_schema(kind, OPSET).since_version == onnx.defs.get_schema(kind, opset).since_version)
    except onnx.defs.SchemaError:
        return False


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    found = next((attribute for attribute in node.attribute if attribute.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def _drop(node: onnx.NodeProto, *names: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in names]
    del node.attribute[:]
    node.attribute.extend(kept)
