"""An ONNX head in the hub graph's opset."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgec.graph.contract import OPSET


def converted(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in `OPSET`, on which alone it then depends. Raises what ONNX's own converter does."""
    import onnx.version_converter

    version = opset_of(model)
    if version > OPSET:
        _spell_out_gelu(model)
    if version != OPSET:
        model = onnx.version_converter.convert_version(model, OPSET)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", OPSET))
    return model


def opset_of(model: onnx.ModelProto) -> int:
    """0 if it does not say."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def _spell_out_gelu(model: onnx.ModelProto) -> None:
    """As its parts: PyTorch exports GELU as one operation from opset 20 on, and the converter knows no way back."""
    graph = model.graph
    if not any(node.op_type == "Gelu" for node in graph.node):
        return
    known = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
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
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


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
