"""A file as the checker's patterns see it: as it is, and as a graph."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

LAYOUT = ("Reshape", "Transpose", "Identity", "Squeeze", "Unsqueeze", "Flatten", "Cast", "Expand")


class View:
    """A file from any source. `invalid` is the error of ONNX's own checker, empty if there is none. If `broken`, its structure is
    not sound: inputs may be missing, operators unknown, and nodes may form a circle. Then there is no `graph`."""

    def __init__(self, file: onnx.ModelProto) -> None:
        self.file, self.invalid = file, ""
        self._graph: ir.Graph | None = None
        try:
            onnx.checker.check_model(file)
            # Without types and shapes, should there be no way to infer them.
            self._graph = _read(file)
            self._graph = _read(onnx.shape_inference.infer_shapes(file, check_type=True, strict_mode=True, data_prop=True))
        except Exception as error:  # one error type for each of onnx's C++ layers, and ValueError beyond 2 GiB
            self.invalid = str(error).strip()

    @property
    def broken(self) -> bool:
        """Whether the structure of the graph is not sound."""
        return self._graph is None

    @property
    def graph(self) -> ir.Graph:
        """The graph, with inferred types and shapes if possible. May only be asked for if it is not `broken`."""
        assert self._graph is not None
        return self._graph

    @cached_property
    def inputs(self) -> list[ir.Value]:
        """The inputs that are no constants: older files list these among the inputs."""
        return [value for value in self.graph.inputs if not value.is_initializer()]

    @cached_property
    def constants(self) -> list[ir.Value]:
        """Initialisers, and the results of Constant nodes."""
        computed = (node.outputs[0] for node in self.graph if node.op_type == "Constant")
        return [*self.graph.initializers.values(), *computed]

    @property
    def opset(self) -> int:
        """The version of ONNX's operators; 0 if the file does not state it."""
        return next((entry.version for entry in self.file.opset_import if entry.domain in ("", "ai.onnx")), 0)

    @cached_property
    def all_nodes(self) -> list[onnx.NodeProto]:
        """Those in branches and bodies too, as protobuf messages."""
        return list(_walk(self.file.graph))

    def attentions(self) -> Iterator[tuple[ir.Node, ir.Node]]:
        """Every product that a Softmax follows (scaling, masking and quantisation may stand between), with that Softmax."""
        between = (*LAYOUT, "Mul", "Div", "Add", "Where", "QuantizeLinear", "DequantizeLinear")
        for node in self.graph:
            if node.op_type == "Softmax":
                product = above(node.inputs[0], between)
                if product is not None and product.op_type == "MatMul":
                    yield product, node


def above(value: ir.Value | None, through: tuple[str, ...] = LAYOUT) -> ir.Node | None:
    """The node that makes a tensor, seen through layout."""
    node = maker(value)
    while node is not None and node.op_type in through:
        node = maker(node.inputs[0])
    return node


def below(value: ir.Value, through: tuple[str, ...] = LAYOUT) -> Iterator[ir.Node]:
    """The nodes that read a tensor, seen through layout."""
    for use in value.uses():
        if use.node.op_type in through:
            yield from below(use.node.outputs[0], through)
        else:
            yield use.node


def maker(value: ir.Value | None) -> ir.Node | None:
    """The node that makes a tensor; None for inputs and constants."""
    return value.producer() if value is not None else None


def is_constant(value: ir.Value | None) -> bool:
    """Whether the tensor is an initialiser or the result of a Constant node."""
    node = maker(value)
    return value is not None and (value.is_initializer() or (node is not None and node.op_type == "Constant"))


def array(value: ir.Value | None) -> NDArray[Any] | None:
    """What a constant holds; None for anything else, and for a constant whose bytes do not fit its type and shape."""
    try:
        tensor = ir.convenience.get_const_tensor(value) if value is not None and is_constant(value) else None
        return None if tensor is None else tensor.numpy()
    except (ValueError, TypeError, KeyError, AssertionError):  # its bytes are not those of its shape, or of no type that there is
        return None


def kind(value: ir.Value | None) -> str:
    """The type of a tensor, by ONNX's name; empty where it is not known."""
    return value.dtype.name if value is not None and value.dtype is not None else ""


def is_half(value: ir.Value | None) -> bool:
    """Whether the tensor is fp16."""
    return kind(value) == "FLOAT16"


def label(node: ir.Node | onnx.NodeProto) -> str:
    """The name by which people find a node: its own, or its first output's."""
    outputs = node.outputs if isinstance(node, ir.Node) else node.output
    first = (outputs[0].name if isinstance(node, ir.Node) else outputs[0]) if outputs else node.op_type
    return str(node.name or first)


def halves(view: View) -> Iterator[tuple[str, NDArray[np.float16]]]:
    """The names and values of all fp16 constants."""
    for constant in view.constants:
        value = array(constant) if is_half(constant) else None
        if value is not None:
            yield str(constant.name), value


def _read(file: onnx.ModelProto) -> ir.Graph:
    """The graph of a file. Nodes without a name keep none: the names that onnx-ir gives them are not in the file."""
    graph = ir.from_proto(file).graph
    for node, written in zip(graph.all_nodes(), _walk(file.graph), strict=True):
        node.name = written.name
    return graph


def _walk(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _walk(inner)
