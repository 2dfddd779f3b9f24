"""Looking at ONNX graphs, and damaging them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import numpy_helper

AnyArray = NDArray[Any]


def constant(model: onnx.ModelProto | ir.Model, name: str) -> AnyArray:
    return constants(model)[name]


def constants(model: onnx.ModelProto | ir.Model) -> dict[str, AnyArray]:
    if isinstance(model, ir.Model):
        return {name: tensor.numpy() for name, tensor in model.graph.initializers.tensor_items()}
    return {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}


def replace_constant(model: onnx.ModelProto | ir.Model, name: str, change: Callable[[AnyArray], AnyArray]) -> None:
    """`change` is given a copy that it may write to."""
    if isinstance(model, ir.Model):
        changed = np.ascontiguousarray(change(constant(model, name).copy()))
        model.graph.initializers[name].const_value = ir.tensor(changed, name=name)
        return
    entry = next(entry for entry in model.graph.initializer if entry.name == name)
    changed = np.ascontiguousarray(change(numpy_helper.to_array(entry).copy()))
    entry.CopyFrom(numpy_helper.from_array(changed, name))


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def nodes(model: onnx.ModelProto, kind: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == kind]


def makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """By tensor, the node that computes it."""
    return {output: node for node in model.graph.node for output in node.output}


def readers(model: onnx.ModelProto, tensor: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if tensor in node.input]
