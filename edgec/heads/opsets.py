"""An ONNX head in the hub graph's opset."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgec.graph.contract import OPSET
from edgec.graph.protobuf import refill, shape_of


def converted(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in `OPSET`, on which alone it then depends. Raises what ONNX's own converter does of an older one, `ValueError`
    with the reason of a newer one."""
    import onnx.version_converter

    version = opset_of(model)
    if version > onnx.defs.onnx_opset_version():
        raise ValueError(f"this ONNX, {onnx.__version__}, knows no opset after {onnx.defs.onnx_opset_version()}")
    if version < OPSET:
        model = onnx.version_converter.convert_version(model, OPSET)
    elif version > OPSET:
        _spell_out_gelu(model)
        _spell_out_wrapping(model)
        model = _spelled_out(model, version)
        for node in model.graph.node:
            _respell(node, version)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", OPSET))
    return model


def opset_of(model: onnx.ModelProto) -> int:
    """0 if it does not say."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def _spelled_out(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    """Operations that `OPSET` has not, or `GroupNormalization` whose scales are of channels only from 21 on, as what ONNX itself
    defines them by."""
    import onnx.inliner

    for _ in range(_NESTED):
        kinds = {node.op_type for node in model.graph.node}
        newer = sorted(kind for kind in kinds if _since(kind, OPSET) is None or (kind == "GroupNormalization" and version >= 21))
        if not newer:
            break
        model = onnx.inliner.inline_selected_functions(model, [("", kind) for kind in newer], inline_schema_functions=True)
        version = opset_of(model)
    return model


_NESTED = 4
"""How deep such definitions refer to each other."""


def _respell(node: onnx.NodeProto, version: int) -> None:
    """As `OPSET` has it. What came between are types, none of which a head in float32 has, and what is said here."""
    kind = node.op_type
    if _since(kind, OPSET) is None:
        raise ValueError(f"{kind}, of opset {_since(kind, version)}, is nothing that opset {OPSET} has")
    if _since(kind, OPSET) == _since(kind, version):
        return
    said = {attribute.name: attribute for attribute in node.attribute}
    if kind == "GridSample" and "mode" in said:
        said["mode"].s = _SAMPLING.get(said["mode"].s, said["mode"].s)
    if kind == "Resize" and said.get("coordinate_transformation_mode", onnx.AttributeProto()).s == b"half_pixel_symmetric":
        raise ValueError("Resize by half_pixel_symmetric, of opset 19")
    if kind == "Pad" and said.get("mode", onnx.AttributeProto()).s == b"wrap":
        raise ValueError("Pad that wraps around, of opset 19, by what is computed or by more than there is")
    if kind == "DFT":
        raise ValueError("DFT, whose axis became an input in opset 20")
    for name in said.keys() - onnx.defs.get_schema(kind, OPSET, "").attributes.keys():
        if not _says_nothing(kind, said[name]):
            raise ValueError(f"{kind} with {name}, which opset {OPSET} has not")
        node.attribute.remove(said[name])


_SAMPLING = {b"linear": b"bilinear", b"cubic": b"bicubic"}
"""How GridSample's modes were called before opset 20."""


def _says_nothing(kind: str, attribute: onnx.AttributeProto) -> bool:
    """Of an attribute that newer opsets added: whether it asks for what was always so."""
    if kind == "AveragePool" and attribute.name == "dilations":
        return all(side == 1 for side in attribute.ints)
    return attribute.name in ("saturate", "round_mode")  # of casts to 8 bits alone


def _since(kind: str, version: int) -> int | None:
    """The opset that an operation of this one came with, or changed in last; None if there is none."""
    try:
        return int(onnx.defs.get_schema(kind, version, "").since_version)
    except onnx.defs.SchemaError:
        return None


def _spell_out_gelu(model: onnx.ModelProto) -> None:
    """As its parts: PyTorch exports GELU as one operation from opset 20 on, and the converter knows no way back."""
    graph = model.graph
    if not any(node.op_type == "Gelu" for node in graph.node):
        return
    known = onnx.shape_inference.infer_shapes(model).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*known.value_info, *known.input, *known.output)}
    nodes: list[onnx.NodeProto] = []
    for number, node in enumerate(graph.node):
        if node.op_type != "Gelu":
            nodes.append(node)
            continue
        parts = _Parts(f"{node.output[0]}.gelu{number}", types.get(node.input[0]) or TensorProto.FLOAT)
        form = next((entry.s for entry in node.attribute if entry.name == "approximate"), b"none")
        x = node.input[0]
        if form == b"tanh":
            cube = parts("Mul", parts("Mul", x, x), x)
            inner = parts("Add", x, parts("Mul", cube, parts.constant(0.044715)))
            bent = parts("Tanh", parts("Mul", inner, parts.constant(math.sqrt(2 / math.pi))))
        else:
            bent = parts("Erf", parts("Mul", x, parts.constant(math.sqrt(0.5))))
        half = parts("Mul", x, parts.constant(0.5))
        parts("Mul", half, parts("Add", bent, parts.constant(1.0)), output=node.output[0])
        nodes += parts.nodes
        graph.initializer.extend(parts.constants)
    refill(graph.node, nodes)


def _spell_out_wrapping(model: onnx.ModelProto) -> None:
    """Padding with what is at the other end, which opset 19 brought, as slices put beside each other."""
    graph = model.graph
    if not any(node.op_type == "Pad" and any(entry.s == b"wrap" for entry in node.attribute) for node in graph.node):
        return
    known = {value.name: shape_of(value) for value in (*graph.value_info, *graph.input, *graph.output)}
    values = {entry.name: entry for entry in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for number, node in enumerate(graph.node):
        shape, amounts = known.get(node.input[0]) if node.input else None, values.get(node.input[1]) if node.input[1:] else None
        axes = values.get(node.input[3]) if len(node.input) > 3 and node.input[3] else None
        wraps = node.op_type == "Pad" and any(entry.s == b"wrap" for entry in node.attribute)
        if not wraps or shape is None or amounts is None or (len(node.input) > 3 and node.input[3] and axes is None):
            nodes.append(node)
            continue
        where = [int(axis) % len(shape) for axis in numpy_helper.to_array(axes)] if axes is not None else list(range(len(shape)))
        before, behind = numpy_helper.to_array(amounts).reshape(2, -1).tolist()
        if any(not 0 <= side <= shape[axis] for sides in (before, behind) for axis, side in zip(where, sides, strict=True)):
            nodes.append(node)
            continue
        parts, x = _Parts(f"{node.output[0]}.wrap{number}", TensorProto.INT64), node.input[0]
        for axis, first, last in zip(where, before, behind, strict=True):
            along = parts.integers(axis)
            pieces = [parts("Slice", x, parts.integers(shape[axis] - first), parts.integers(shape[axis]), along)] if first else []
            pieces += [x] + ([parts("Slice", x, parts.integers(0), parts.integers(last), along)] if last else [])
            if len(pieces) > 1:
                x = parts("Concat", *pieces)
                parts.nodes[-1].attribute.append(helper.make_attribute("axis", axis))
        parts("Identity", x, output=node.output[0])
        nodes += parts.nodes
        graph.initializer.extend(parts.constants)
    refill(graph.node, nodes)


class _Parts:
    """Nodes and constants with names that nothing else has; called for a node, gives its output's name."""

    def __init__(self, stem: str, element: int) -> None:
        self._stem, self._type = stem, helper.tensor_dtype_to_np_dtype(element)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def __call__(self, kind: str, *inputs: str, output: str = "") -> str:
        name = output or f"{self._stem}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name]))
        return name

    def constant(self, value: float) -> str:
        name = f"{self._stem}.constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, self._type), name))
        return name

    def integers(self, *values: int) -> str:
        name = f"{self._stem}.constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name
