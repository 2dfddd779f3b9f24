"""The hub graph in opset 17, the newest that TensorRT 8.6 (JetPack 6.0) knows; later versions take it too.

Source: onnx-tensorrt, docs/operators.md of release 8.6.
"""

from __future__ import annotations

import onnx
from onnx import helper, numpy_helper

from edgec.errors import ExportError

OPSET = 17
IR_VERSION = 8
"""The file format of ONNX 1.13, which TensorRT 8.6 was made with."""


def to_opset_17(model: onnx.ModelProto) -> onnx.ModelProto:
    """A new model. Raises `ExportError` for an operator that opset 17 has not, or has with another meaning."""
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    from_opset = model.opset_import[0].version
    constants = {entry.name: entry for entry in lowered.graph.initializer}
    strange = set()
    for node in lowered.graph.node:
        if node.op_type == "Reshape":
            # It says what a zero in the new shape means, and static shapes hold none.
            _drop_attribute(node, "allowzero")
        elif node.op_type == "ReduceMean" and len(node.input) == 2:
            axes = numpy_helper.to_array(constants[node.input[1]])
            _drop_attribute(node, "noop_with_empty_axes")
            node.attribute.append(helper.make_attribute("axes", [int(axis) for axis in axes]))
            del node.input[1]
        elif not _same(node.op_type, from_opset):
            strange.add(node.op_type)
    if strange:
        raise ExportError(
            f"The graph cannot be written in ONNX opset {OPSET}.",
            evidence=[f"{kind}: absent there, or of another meaning than in opset {from_opset}" for kind in sorted(strange)],
            remedy="report this with the versions that `edgec doctor` prints: an exporter changed",
        )
    read = {name for node in lowered.graph.node for name in node.input}
    for index in reversed(range(len(lowered.graph.initializer))):
        if lowered.graph.initializer[index].name not in read:
            del lowered.graph.initializer[index]
    lowered.opset_import[0].version, lowered.ir_version = OPSET, IR_VERSION
    return lowered


def _same(kind: str, opset: int) -> bool:
    try:
        return bool(onnx.defs.get_schema(kind, OPSET).since_version == onnx.defs.get_schema(kind, opset).since_version)
    except onnx.defs.SchemaError:
        return False


def _drop_attribute(node: onnx.NodeProto, name: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
