"""Move the spread of an activation's channels into weights, before and behind it, without changing what the model computes.

An activation that a LayerNorm makes is divided by a scale a channel in the norm's own weight and bias; one that V or a gated
MLP's `up` makes, in that projection's output channels. What nothing linear makes, such as GELU's output, is divided by a node of
its own. The rows of the products behind it are multiplied by the same scale. (SmoothQuant, arXiv 2211.10438, between a norm and
the products behind it.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgec.graph.contract import shape_of
from edgec.graph.operations import Operation, operations
from edgec.graph.passes.constants import ConstantEditor
from edgec.graph.passes.correct import bias_node

Kind = Literal["norm", "product", "inserted"]


@dataclass(frozen=True)
class Group:
    """An activation that can be smoothed: `maker` is the node that makes its channels, a norm or a product, or, where a
    node is to be inserted, whatever is there; `readers` are the products behind it."""

    activation: str
    maker: str
    readers: tuple[Operation, ...]
    kind: Kind


def groups(hub: onnx.ModelProto) -> tuple[Group, ...]:
    """Every activation that can be smoothed."""
    nodes = {output: node for node in hub.graph.node for output in node.output}
    names = {node.name for node in hub.graph.node}
    reading: dict[str, list[Operation]] = {}
    for operation in operations(hub):
        if operation.kind in ("linear", "convolution"):
            reading.setdefault(operation.activation, []).append(operation)
    uses = Counter(name for node in hub.graph.node for name in node.input)
    uses.update(output.name for output in hub.graph.output)
    found = []
    for activation, readers in reading.items():
        maker = nodes[activation]
        # A norm over the channels of a feature map stands between transpositions.
        if maker.op_type == "Transpose" and uses[maker.input[0]] == 1:
            maker = nodes[maker.input[0]]
        alone = uses[activation] == len(readers)
        if alone and maker.op_type == "LayerNormalization":
            found.append(Group(activation, maker.name, tuple(readers), "norm"))
        elif alone and (product := _linear_maker(readers[0].name)) in names:
            found.append(Group(activation, product, tuple(readers), "product"))
        elif all(reader.kind == "linear" for reader in readers):
            found.append(Group(activation, maker.name, tuple(readers), "inserted"))
    return tuple(found)


def by_input_channel(operation: Operation, weight: NDArray[Any]) -> NDArray[Any]:
    """The weight as [C, …], its input channels first."""
    return weight if operation.kind == "linear" else weight.swapaxes(0, 1)


def _linear_maker(reader: str) -> str:
    """The projection whose output channels are this reader's input channels, by the hub graph's names."""
    for reader_end, maker_end in ((".attn.proj", ".attn.v"), (".mlp.down", ".mlp.up")):
        if reader.endswith(reader_end):
            return reader.removesuffix(reader_end) + maker_end
    return ""


def smooth(hub: onnx.ModelProto, scales: Mapping[str, tuple[float, ...]]) -> onnx.ModelProto:
    """A new model in which each named activation is divided by its scales, one a channel."""
    model = onnx.ModelProto()
    model.CopyFrom(hub)
    editor = ConstantEditor(model)
    for group in groups(hub):
        if group.activation not in scales:
            continue
        scale = np.asarray(scales[group.activation], dtype=np.float64)
        if group.kind == "inserted":
            _divide(model.graph, group, scale)
        else:
            for node, index in _makers(model, editor, group.maker):
                editor.set(node, index, editor.get(node, index) / scale)
        for reader in group.readers:
            weight = by_input_channel(reader, editor.get(reader.name, 1))
            scaled = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
            editor.set(reader.name, 1, by_input_channel(reader, scaled))
    return model


def _divide(graph: onnx.GraphProto, group: Group, scale: NDArray[np.float64]) -> None:
    """Put a multiplication between the activation's maker and its readers. It takes over the activation's name, by which plans
    know it; whoever else reads it reads what it was."""
    name, before = group.activation, f"{group.activation}.unsmoothed"
    readers = {reader.name for reader in group.readers}
    place = 0
    for index, node in enumerate(graph.node):
        for slot, output in enumerate(node.output):
            if output == name:
                node.output[slot], place = before, index + 1
        for slot, read in enumerate(node.input):
            if read == name and node.name not in readers:
                node.input[slot] = before
    graph.initializer.append(numpy_helper.from_array((1 / scale).astype(np.float32), f"{name}.smoothing"))
    graph.node.insert(place, helper.make_node("Mul", [before, f"{name}.smoothing"], [name], name=f"{name}.smooth"))
    shape = next(shape_of(value) for value in graph.value_info if value.name == name)
    graph.value_info.append(helper.make_tensor_value_info(before, TensorProto.FLOAT, shape))


def _makers(model: onnx.ModelProto, editor: ConstantEditor, maker: str) -> list[tuple[str, int]]:
    """The constants that scale the maker's output: weight and bias of a norm, or of a product and the Add behind it."""
    norm = any(node.name == maker and node.op_type == "LayerNormalization" for node in model.graph.node)
    bias = (maker, 2) if norm else (bias_node(maker), 1)
    return [(maker, 1), *([bias] if editor.has(*bias) else [])]
