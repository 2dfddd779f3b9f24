"""Move the spread of an activation's channels into weights, before and behind it, without changing what the model computes.

An activation that a LayerNorm makes is divided by a scale a channel in the norm's own weight and bias; one that V or a gated
MLP's `up` makes, in that projection's output channels. The rows of the products behind it are multiplied by the same scale.
(SmoothQuant, arXiv 2211.10438, between a norm and the products behind it; the other two are linear in the same way.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from edgec.graph.operations import Operation, operations
from edgec.graph.passes.constants import ConstantEditor
from edgec.graph.passes.correct import bias_node


@dataclass(frozen=True)
class Group:
    """An activation that can be smoothed: `maker` is the node that makes its channels, a LayerNormalization or a product;
    `readers` are the products behind it."""

    activation: str
    maker: str
    readers: tuple[Operation, ...]
    maker_is_norm: bool = True


def groups(hub: onnx.ModelProto) -> tuple[Group, ...]:
    """Every activation that can be smoothed: nothing but products with weights reads it."""
    nodes = {node.output[0]: node for node in hub.graph.node}
    names = {node.name for node in hub.graph.node}
    linear: dict[str, list[Operation]] = {}
    for operation in operations(hub):
        if operation.kind == "linear":
            linear.setdefault(operation.activation, []).append(operation)
    uses: dict[str, int] = {output.name: 1 for output in hub.graph.output}
    for node in hub.graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    found = []
    for activation, readers in linear.items():
        maker = nodes[activation]
        if uses[activation] == len(readers):
            if maker.op_type == "LayerNormalization":
                found.append(Group(activation, maker.name, tuple(readers)))
            elif (product := _linear_maker(readers[0].name)) in names:
                found.append(Group(activation, product, tuple(readers), maker_is_norm=False))
    return tuple(found)


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
        for node, index in _makers(model, editor, group.maker):
            editor.set(node, index, editor.get(node, index) / scale)
        for reader in group.readers:
            editor.set(reader.name, 1, editor.get(reader.name, 1) * scale[:, None])
    return model


def _makers(model: onnx.ModelProto, editor: ConstantEditor, maker: str) -> list[tuple[str, int]]:
    """The constants that scale the maker's output: weight and bias of a norm, or of a product and the Add behind it."""
    norm = any(node.name == maker and node.op_type == "LayerNormalization" for node in model.graph.node)
    bias = (maker, 2) if norm else (bias_node(maker), 1)
    return [(maker, 1), *([bias] if editor.has(*bias) else [])]
