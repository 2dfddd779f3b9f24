"""An ONNX head in the hub graph's opset."""

from __future__ import annotations

import math

import onnx
import onnx_ir as ir

from edgec.graph.contract import OPSET
from edgec.graph.values import input_of, shape_of
from edgec.heads.onnx_heads.editing import Replacement, constant_of


def converted(model: ir.Model) -> ir.Model:
    """The model in `OPSET`, the only operator set that it then imports. Raises what ONNX's own converter raises of an older one,
    and `ValueError` with the reason for a newer one that cannot be converted."""
    import onnx.version_converter

    version = opset_of(model)
    if version > onnx.defs.onnx_opset_version():
        raise ValueError(f"this ONNX, {onnx.__version__}, knows no opset after {onnx.defs.onnx_opset_version()}")
    if version < OPSET:
        model = ir.from_proto(onnx.version_converter.convert_version(ir.to_proto(model), OPSET))
    elif version > OPSET:
        for node in tuple(model.graph):
            if node.op_type == "Gelu":
                _write_out_gelu(node)
            elif node.op_type == "Pad" and node.attributes.get_string("mode") == "wrap":
                _write_out_wrapping(node)
        model = _without_newer_operations(model, version)
        for node in model.graph:
            _rewrite_attributes(node, version)
    model.graph.opset_imports.clear()
    model.graph.opset_imports[""] = OPSET
    return model


def opset_of(model: ir.Model) -> int:
    """The version of ONNX's own operator set; 0 if the model does not say."""
    imports = model.graph.opset_imports
    return imports.get("", imports.get("ai.onnx", 0))


def _without_newer_operations(model: ir.Model, version: int) -> ir.Model:
    """Operations that `OPSET` lacks are replaced by ONNX's own definition of them; so is `GroupNormalization`, whose scales are
    of channels only from opset 21 on."""
    import onnx.inliner

    for _ in range(_NESTED):
        kinds = {node.op_type for node in model.graph}
        newer = sorted(kind for kind in kinds if _since(kind, OPSET) is None or (kind == "GroupNormalization" and version >= 21))
        if not newer:
            break
        chosen = [("", kind) for kind in newer]
        proto = onnx.inliner.inline_selected_functions(ir.to_proto(model), chosen, inline_schema_functions=True)
        model = ir.from_proto(proto)
        version = opset_of(model)
    return model


_NESTED = 4
"""How deeply such definitions refer to each other."""


def _rewrite_attributes(node: ir.Node, version: int) -> None:
    """As `OPSET` has them. Raises `ValueError` for what it cannot say. Otherwise newer versions only allow more types, and heads
    are float32."""
    kind = node.op_type
    if _since(kind, OPSET) is None:
        raise ValueError(f"{kind}, of opset {_since(kind, version)}, does not exist in opset {OPSET}")
    if _since(kind, OPSET) == _since(kind, version):
        return
    mode = node.attributes.get_string("mode", "")
    if kind == "GridSample" and mode in _SAMPLING:
        node.attributes.add(ir.AttrString("mode", _SAMPLING[mode]))
    if kind == "Resize" and node.attributes.get_string("coordinate_transformation_mode") == "half_pixel_symmetric":
        raise ValueError("Resize by half_pixel_symmetric, of opset 19")
    if kind == "Pad" and mode == "wrap":
        raise ValueError("Pad that wraps around, of opset 19, by a computed amount or by more than the tensor's side")
    if kind == "DFT":
        raise ValueError("DFT, whose axis became an input in opset 20")
    for name in set(node.attributes) - onnx.defs.get_schema(kind, OPSET, "").attributes.keys():
        if not _is_default(kind, node.attributes[name]):
            raise ValueError(f"{kind} with {name}, which opset {OPSET} does not have")
        node.attributes.pop(name)


_SAMPLING = {"linear": "bilinear", "cubic": "bicubic"}
"""From GridSample's modes to their names before opset 20."""


def _is_default(kind: str, attribute: ir.Attr) -> bool:
    """Whether an attribute that newer opsets added asks for what older ones do without it."""
    if kind == "AveragePool" and attribute.name == "dilations":
        return all(side == 1 for side in attribute.as_ints())
    return attribute.name in ("saturate", "round_mode")  # of casts to 8 bits alone


def _since(kind: str, version: int) -> int | None:
    """The opset, up to `version`, in which an operation was added or last changed; None if there is no such operation."""
    try:
        return int(onnx.defs.get_schema(kind, version, "").since_version)
    except onnx.defs.SchemaError:
        return None


def _write_out_gelu(node: ir.Node) -> None:
    """As its parts: PyTorch exports GELU as one operation from opset 20 on, and the converter cannot convert it back."""
    parts, x = Replacement(node), input_of(node)
    kind = (x.dtype or ir.DataType.FLOAT).numpy()
    if node.attributes.get_string("approximate") == "tanh":
        cube = parts.op("Mul", parts.op("Mul", x, x), x)
        inner = parts.op("Add", x, parts.op("Mul", cube, parts.constant(0.044715, kind)))
        bent = parts.op("Tanh", parts.op("Mul", inner, parts.constant(math.sqrt(2 / math.pi), kind)))
    else:
        bent = parts.op("Erf", parts.op("Mul", x, parts.constant(math.sqrt(0.5), kind)))
    half = parts.op("Mul", x, parts.constant(0.5, kind))
    parts.put(parts.op("Mul", half, parts.op("Add", bent, parts.constant(1.0, kind))))


def _write_out_wrapping(node: ir.Node) -> None:
    """Padding with values from the other end, which opset 19 added, as slices that are concatenated. Left as it is where the
    amounts are not constant, or larger than the tensor's side."""
    x, amounts, axes = input_of(node), constant_of(node, 1), constant_of(node, 3)
    shape = shape_of(x)
    if shape is None or amounts is None or (axes is None and len(node.inputs) > 3 and node.inputs[3] is not None):
        return
    where = range(len(shape)) if axes is None else [int(axis) % len(shape) for axis in axes]
    before, behind = amounts.reshape(2, -1).tolist()
    if any(not 0 <= side <= shape[axis] for sides in (before, behind) for axis, side in zip(where, sides, strict=True)):
        return
    parts = Replacement(node)
    for axis, first, last in zip(where, before, behind, strict=True):
        along, side = parts.constant([axis]), shape[axis]
        pieces = [parts.op("Slice", x, parts.constant([side - first]), parts.constant([side]), along)] if first else []
        pieces += [x] + ([parts.op("Slice", x, parts.constant([0]), parts.constant([last]), along)] if last else [])
        if len(pieces) > 1:
            x = parts.op("Concat", *pieces, axis=axis)
    parts.put(parts.op("Identity", x))
