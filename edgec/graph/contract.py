"""What every hub graph promises, checked on the graph itself: see "The hub graph" in the plan of the house."""

from __future__ import annotations

from collections import Counter

import onnx

from edgec.errors import ExportError
from edgec.model.spec import Size, Spec, VitSpec, grid, tokens

OPSET = 18
FORBIDDEN = ("If", "Loop", "Scan", "Shape", "Size", "NonZero", "ConstantOfShape", "Expand", "Range")
"""Control flow, and whatever computes a shape at run time."""


def norm_count(spec: Spec) -> int:
    """How many LayerNormalization nodes the backbone has with the outputs `cls` and `patches`."""
    if isinstance(spec, VitSpec):
        return 2 * spec.depth + (2 if spec.separate_cls_norm else 1)
    return sum(spec.depths) + len(spec.depths) + 2


def check_contract(model: onnx.ModelProto, spec: Spec, size: Size, batch: int) -> None:
    """Raises `ExportError` listing every promise that the graph breaks."""
    graph, broken = model.graph, []
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if opsets != {"ai.onnx": OPSET}:
        broken.append(f"operator sets {opsets}, not ai.onnx {OPSET} alone")
    kinds = Counter(node.op_type for node in graph.node)
    broken += [f"{kinds[kind]} {kind} node(s)" for kind in FORBIDDEN if kinds[kind]]
    if kinds["LayerNormalization"] < norm_count(spec):
        broken.append(f"{kinds['LayerNormalization']} LayerNormalization nodes, not {norm_count(spec)}: a norm was decomposed")
    broken += _shape_promises(graph, spec, size, batch)
    names = [node.name for node in graph.node]
    broken += [f"two nodes are named {name}" for name, count in Counter(names).items() if count > 1]
    if broken:
        raise ExportError(
            "The exported graph breaks the hub graph's contract.",
            evidence=broken,
            remedy="report this with the versions that `edgec doctor` prints: an exporter changed",
        )


def _shape_promises(graph: onnx.GraphProto, spec: Spec, size: Size, batch: int) -> list[str]:
    broken = []
    rows, columns = grid(spec, size)
    wanted = {
        "frames": (batch, size.height, size.width, 3),
        "cls": (batch, spec.features),
        "patches": (batch, rows, columns, spec.features),
    }
    found = {value.name: shape_of(value) for value in (*graph.input, *graph.output)}
    for name, shape in wanted.items():
        if found.get(name) != shape:
            broken.append(f"{name} is {found.get(name, 'absent')}, not {shape} for {tokens(spec, size)} tokens")
    element = graph.input[0].type.tensor_type.elem_type
    if element != onnx.TensorProto.UINT8:
        broken.append(f"frames are {onnx.TensorProto.DataType.Name(element)}, not UINT8")
    dynamic = [value.name for value in (*graph.input, *graph.output, *graph.value_info) if shape_of(value) is None]
    if dynamic:
        broken.append(f"dynamic shapes: {', '.join(dynamic[:8])}")
    return broken


def shape_of(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """The static shape; None if any dimension is open."""
    dims = value.type.tensor_type.shape.dim
    if not all(dim.HasField("dim_value") for dim in dims):
        return None
    return tuple(dim.dim_value for dim in dims)
