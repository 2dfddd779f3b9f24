"""Write a plan's static int8 into the graph as QuantizeLinear/DequantizeLinear pairs around the products that it names.

Requires a hub graph and a range for the activation of every int8 operation; ensures that every other operation is untouched, that
weights are symmetric per output channel, and that operations which read the same activation share one pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgec.graph.numbers import LIMIT, weight_scales
from edgec.graph.operations import Operation, constants, operations
from edgec.graph.plan import PrecisionPlan, QuantisedWeight, Range

ActivationType = Literal["u8", "s8"]


def insert_quantisation(hub: onnx.ModelProto, plan: PrecisionPlan) -> onnx.ModelProto:
    """A new model; the hub graph is left as it is."""
    model = onnx.ModelProto()
    model.CopyFrom(hub)
    graph = model.graph
    nodes = {node.name: node for node in graph.node}
    values = constants(model)
    added: dict[str, list[onnx.NodeProto]] = {}
    for operation in operations(hub):
        if plan.precision_of(operation.name) != "int8":
            continue
        node = nodes[operation.name]
        tensor = operation.activation
        if tensor not in added:
            added[tensor] = _activation_pair(graph, tensor, plan.ranges[tensor], plan.activations)
        node.input[0] = f"{tensor}.dequantised"
        # Named by the operation: the exporter lets equal constants share one, and two products may round theirs differently.
        name = f"{operation.name}.weight"
        added[name] = [_weight_node(graph, name, quantised_weight(operation, values, plan), operation.channel_axis)]
        node.input[1] = f"{name}.dequantised"
    _insert(graph, added)
    _drop_unread(graph)
    return model


def activation_parameters(seen: Range, activation: ActivationType) -> tuple[np.float32, NDArray[np.uint8 | np.int8]]:
    """Scale and zero point that hold the whole range."""
    if activation == "s8":
        return np.float32(_usable(max(-seen.low, seen.high) / 127)), np.zeros((), dtype=np.int8)
    scale = np.float32(_usable((seen.high - seen.low) / 255))
    return scale, np.asarray(np.clip(np.rint(-seen.low / scale), 0, 255), dtype=np.uint8)


def quantised_weight(operation: Operation, values: Mapping[str, onnx.TensorProto], plan: PrecisionPlan) -> QuantisedWeight:
    """The plan's, or the model's rounded to the nearest. `values` are the (smoothed) model's constants."""
    found = plan.weights.get(operation.name)
    if found is not None:
        return found
    weight = numpy_helper.to_array(values[operation.weight])
    scales = weight_scales(weight, operation.channel_axis, paired=plan.paired)
    shape = [-1 if axis == operation.channel_axis else 1 for axis in range(weight.ndim)]
    integers = np.clip(np.rint(weight / scales.reshape(shape)), -LIMIT, LIMIT).astype(np.int8)
    return QuantisedWeight(integers, scales)


def _usable(scale: Any) -> Any:
    """One instead of zero, and of what runtimes take for zero: they flush denormal numbers."""
    return np.where(scale < np.finfo(np.float32).tiny, 1.0, scale)


def _activation_pair(graph: onnx.GraphProto, tensor: str, seen: Range, activation: ActivationType) -> list[onnx.NodeProto]:
    scale, zero = activation_parameters(seen, activation)
    names = [f"{tensor}.scale", f"{tensor}.zero_point"]
    graph.initializer.append(numpy_helper.from_array(np.asarray(scale), names[0]))
    graph.initializer.append(numpy_helper.from_array(zero, names[1]))
    quantised, dequantised = f"{tensor}.quantised", f"{tensor}.dequantised"
    return [
        helper.make_node("QuantizeLinear", [tensor, *names], [quantised], name=quantised),
        helper.make_node("DequantizeLinear", [quantised, *names], [dequantised], name=dequantised),
    ]


def _weight_node(graph: onnx.GraphProto, name: str, weight: QuantisedWeight, axis: int) -> onnx.NodeProto:
    graph.initializer.append(numpy_helper.from_array(weight.integers, f"{name}.quantised"))
    graph.initializer.append(numpy_helper.from_array(weight.scales, f"{name}.scale"))
    graph.initializer.append(numpy_helper.from_array(np.zeros(weight.scales.shape, np.int8), f"{name}.zero_point"))
    return helper.make_node(
        "DequantizeLinear",
        [f"{name}.quantised", f"{name}.scale", f"{name}.zero_point"],
        [f"{name}.dequantised"],
        name=f"{name}.dequantised",
        axis=axis,
    )


def _insert(graph: onnx.GraphProto, added: dict[str, list[onnx.NodeProto]]) -> None:
    """Put each new node right before the first that reads it, which keeps the graph in order of execution."""
    makers = {output: (key, node) for key, group in added.items() for node in group for output in node.output}
    ordered: list[onnx.NodeProto] = []
    done: set[str] = set()
    for node in graph.node:
        for name in node.input:
            if name in makers and makers[name][0] not in done:
                done.add(makers[name][0])
                ordered += added[makers[name][0]]
        ordered.append(node)
    # protobuf copies on extend; the list must hold copies before the field that owns the originals is cleared.
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Only what nobody reads any more: the exporter lets equal constants share one, and an operation beside may stay in float."""
    read = {name for node in graph.node for name in node.input}
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in read:
            del graph.initializer[index]
