"""A graph to look things up in: makers, readers, types, shapes, constants."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

LAYOUT = ("Reshape", "Transpose", "Identity", "Squeeze", "Unsqueeze", "Flatten", "Cast", "Expand")


class View:
    """`invalid` is what ONNX's own checker has against the model, empty if nothing. `broken` says that it is the structure:
    inputs may be missing, operators unknown, and the order of the nodes may run in circles."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.invalid, self.broken = "", True
        self.model = model
        try:
            onnx.checker.check_model(model)
            self.broken = False
            model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        except Exception as error:  # one error type for each of onnx's C++ layers, and ValueError beyond 2 GiB
            self.invalid = str(error).strip()
        self.graph = model.graph
        self.nodes = list(self.graph.node)
        self.makers = {name: node for node in self.nodes for name in node.output if name}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.constants = {entry.name: entry for entry in self.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self.constants[node.output[0]] = node.attribute[0].t
        values = (*self.graph.input, *self.graph.output, *self.graph.value_info)
        self.kinds = {value.name: value.type.tensor_type.elem_type for value in values}
        self.kinds |= {name: entry.data_type for name, entry in self.constants.items()}
        self.shapes = {value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in values}
        self.inputs = [value for value in self.graph.input if value.name not in self.constants]

    @property
    def opset(self) -> int:
        return next((entry.version for entry in self.model.opset_import if entry.domain in ("", "ai.onnx")), 0)

    @cached_property
    def all_nodes(self) -> list[onnx.NodeProto]:
        """Those in branches and bodies too."""
        return list(_walk(self.graph))

    def value(self, name: str) -> NDArray[Any] | None:
        if name not in self.constants:
            return None
        try:
            return numpy_helper.to_array(self.constants[name])
        except (ValueError, TypeError, KeyError):  # its bytes are not those of its shape, or of no type that there is
            return None

    def kind(self, name: str) -> str:
        kind = self.kinds.get(name, 0)
        return str(TensorProto.DataType.Name(kind)) if kind in TensorProto.DataType.values() else f"type {kind}"

    def is_half(self, name: str) -> bool:
        return self.kinds.get(name) == TensorProto.FLOAT16

    def above(self, name: str, through: tuple[str, ...] = LAYOUT) -> onnx.NodeProto | None:
        """The node that makes a tensor, seen through layout."""
        node = self.makers.get(name)
        while node is not None and node.op_type in through:
            node = self.makers.get(node.input[0])
        return node

    def below(self, name: str, through: tuple[str, ...] = LAYOUT) -> Iterator[onnx.NodeProto]:
        """The nodes that read a tensor, seen through layout."""
        for node in self.readers.get(name, ()):
            if node.op_type in through:
                yield from self.below(node.output[0], through)
            else:
                yield node

    def attentions(self) -> Iterator[tuple[onnx.NodeProto, onnx.NodeProto]]:
        """Every product that a Softmax follows (scaling, masking and quantisation may stand between), with that Softmax."""
        between = (*LAYOUT, "Mul", "Div", "Add", "Where", "QuantizeLinear", "DequantizeLinear")
        for node in self.nodes:
            if node.op_type == "Softmax":
                product = self.above(node.input[0], between)
                if product is not None and product.op_type == "MatMul":
                    yield product, node


class FreeNames:
    """Names for what is added to a graph. Those of ONNX heads are anybody's choice, and may be ours."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._taken = {entry.name for entry in (*graph.input, *graph.output, *graph.initializer, *graph.node)}
        self._taken |= {name for node in graph.node for name in node.output}

    def take(self, name: str) -> str:
        """This name, or one with more at its end."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def label(node: onnx.NodeProto) -> str:
    """What people find a node by."""
    return node.name or (node.output[0] if node.output else node.op_type)


def halves(view: View) -> Iterator[tuple[str, NDArray[np.float16]]]:
    """Every fp16 constant that some node reads."""
    for name, entry in view.constants.items():
        value = view.value(name) if entry.data_type == TensorProto.FLOAT16 else None
        if value is not None:
            yield name, value


def _walk(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _walk(inner)
