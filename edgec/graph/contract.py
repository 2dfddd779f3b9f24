"""What every hub graph promises, checked on the graph itself: opset, operators, norms, types, static shapes, unique names."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

from edgec.errors import ExportError
from edgec.graph.passes.base import namesakes
from edgec.graph.values import name_of, shape_of
from edgec.model.spec import Size, Spec, VitSpec, grid, tokens

OPSET = 18
FORBIDDEN = ("If", "Loop", "Scan", "Shape", "Size", "NonZero", "ConstantOfShape", "Expand", "Range")
"""Control flow, and whatever computes a shape at run time."""


def norm_count(spec: Spec) -> int:
    """How many LayerNormalization nodes the backbone has if its outputs are `cls` and `patches`."""
    if isinstance(spec, VitSpec):
        return 2 * spec.depth + (2 if spec.separate_cls_norm else 1)
    return sum(spec.depths) + len(spec.depths) + 2


def check_contract(model: ir.Model, spec: Spec, size: Size, batch: int) -> None:
    """Raises `ExportError`, which lists every promise of the hub graph's contract that this graph breaks."""
    graph, broken = model.graph, []
    if graph.opset_imports != {"": OPSET}:
        opsets = {domain or "ai.onnx": version for domain, version in graph.opset_imports.items()}
        broken.append(f"operator sets {opsets}, not ai.onnx {OPSET} alone")
    kinds = Counter(node.op_type for node in graph)
    broken += [f"{kinds[kind]} {kind} node(s)" for kind in FORBIDDEN if kinds[kind]]
    if kinds["LayerNormalization"] < norm_count(spec):
        broken.append(f"{kinds['LayerNormalization']} LayerNormalization nodes, not {norm_count(spec)}: a norm was decomposed")
    broken += _shape_promises(graph, spec, size, batch)
    broken += namesakes(graph)
    if broken:
        raise ExportError(
            "The exported graph breaks the hub graph's contract.",
            evidence=broken,
            remedy="report this with the versions that `edgec doctor` prints: an exporter changed",
        )


def _shape_promises(graph: ir.Graph, spec: Spec, size: Size, batch: int) -> list[str]:
    broken = []
    rows, columns = grid(spec, size)
    expected = {
        "frames": (batch, size.height, size.width, 3),
        "cls": (batch, spec.features),
        "patches": (batch, rows, columns, spec.features),
    }
    ends = (*graph.inputs, *graph.outputs)
    actual = {value.name: shape_of(value) for value in ends}
    for name, shape in expected.items():
        if actual.get(name) != shape:
            broken.append(f"{name} is {actual.get(name, 'absent')}, not {shape} for {tokens(spec, size)} tokens")
    element = graph.inputs[0].dtype
    if element != ir.DataType.UINT8:
        broken.append(f"frames are {element}, not UINT8")
    computed = (value for node in graph for value in node.outputs)
    dynamic = [name_of(value) for value in dict.fromkeys((*ends, *computed)) if shape_of(value) is None]
    if dynamic:
        broken.append(f"dynamic shapes: {', '.join(dynamic[:8])}")
    return broken
