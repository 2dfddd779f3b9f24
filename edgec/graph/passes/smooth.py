"""Move the spread of an activation's channels into weights, before and behind it, without changing what the model computes.

An activation is divided by one scale a channel: in the weight and bias of the LayerNorm that makes it, or in the output channels
of the projection that makes it (V, or the `up` of a gated MLP). An activation that nothing linear makes, such as GELU's output,
is divided by a new node. The rows of the products behind it are multiplied by the same scales. (SmoothQuant, arXiv 2211.10438,
does so between a norm and the products behind it.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgec.graph.operations import Operation, operations
from edgec.graph.passes.base import Rewrite
from edgec.graph.passes.constants import bias_add, get_constant, set_constant
from edgec.graph.values import add_constant, input_of, shape_of, uses

Kind = Literal["norm", "product", "inserted"]


@dataclass(frozen=True)
class Group:
    """An activation that can be smoothed, and the products behind it (`readers`). `maker` is the node that makes its channels, a
    norm or a product; where a node has to be inserted, it is any node that makes the activation."""

    activation: str
    maker: ir.Node
    readers: tuple[Operation, ...]
    kind: Kind


def groups(hub: ir.Model) -> tuple[Group, ...]:
    """Every activation that can be smoothed."""
    nodes = {node.name: node for node in hub.graph}
    reading: dict[str, list[Operation]] = {}
    for operation in operations(hub):
        if operation.kind in ("linear", "convolution"):
            reading.setdefault(operation.activation, []).append(operation)
    entries = []
    for activation, readers in reading.items():
        value = input_of(readers[0].node)
        maker = value.producer()
        assert maker is not None
        # A norm over the channels of a feature map stands between transpositions.
        before = input_of(maker).producer()
        if maker.op_type == "Transpose" and uses(input_of(maker)) == 1 and before is not None:
            maker = before
        alone = uses(value) == len(readers)
        product = nodes.get(_linear_maker(readers[0].name))
        if alone and maker.op_type == "LayerNormalization":
            entries.append(Group(activation, maker, tuple(readers), "norm"))
        elif alone and product is not None:
            entries.append(Group(activation, product, tuple(readers), "product"))
        elif all(reader.kind == "linear" for reader in readers):
            entries.append(Group(activation, maker, tuple(readers), "inserted"))
    return tuple(entries)


def by_input_channel(operation: Operation, weight: NDArray[Any]) -> NDArray[Any]:
    """The weight as [C, …], its input channels first."""
    return weight if operation.kind == "linear" else weight.swapaxes(0, 1)


def _linear_maker(reader: str) -> str:
    """The projection whose output channels are this reader's input channels, by the hub graph's names."""
    for reader_end, maker_end in ((".attn.proj", ".attn.v"), (".mlp.down", ".mlp.up")):
        if reader.endswith(reader_end):
            return reader.removesuffix(reader_end) + maker_end
    return ""


class Smooth(Rewrite):
    """Divides each named activation by its scales, one a channel.

    Requires positive, finite scales, as many as the activation has channels. Ensures that the weights behind it are finite.
    """

    def __init__(self, scales: Mapping[str, tuple[float, ...]]) -> None:
        super().__init__()
        self._scales = scales

    def missing(self, model: ir.Model) -> Iterable[str]:
        """Scales that are not positive, or not as many as there are channels."""
        for group in self._groups(model):
            scale = np.asarray(self._scales[group.activation])
            if not (np.isfinite(scale).all() and (scale > 0).all()):
                yield f"a scale of {group.activation} is no positive number"
            reader = group.readers[0]
            channels = (shape_of(input_of(reader.node, 1)) or ())[0 if reader.kind == "linear" else 1]
            if len(scale) != channels:
                yield f"{group.activation} has {channels} channels and {len(scale)} scales"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Scales the constants before and behind each activation."""
        for group in self._groups(model):
            scale = np.asarray(self._scales[group.activation], dtype=np.float64)
            if group.kind == "inserted":
                _divide(group, scale)
            else:
                for node, index in _makers(group.maker):
                    set_constant(node, index, get_constant(node, index) / scale)
            for reader in group.readers:
                weight = by_input_channel(reader, get_constant(reader.node, 1))
                scaled = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
                set_constant(reader.node, 1, by_input_channel(reader, scaled))
        return ir.passes.PassResult(model, modified=bool(self._scales))

    def broken(self, model: ir.Model) -> Iterable[str]:
        """Weights that are not finite."""
        for group in self._groups(model):
            for reader in group.readers:
                if not np.isfinite(reader.weights).all():
                    yield f"the weight of {reader.name} is not finite"

    def _groups(self, model: ir.Model) -> list[Group]:
        return [group for group in groups(model) if group.activation in self._scales] if self._scales else []


def _divide(group: Group, scale: NDArray[np.float64]) -> None:
    """Put a multiplication between the activation's maker and its products. Its result takes over the activation's name, by which
    plans know it; other readers go on reading the activation itself."""
    name, before = group.activation, input_of(group.readers[0].node)
    maker = before.producer()
    assert maker is not None
    assert maker.graph is not None
    before.name = f"{name}.unsmoothed"
    factor = add_constant(maker.graph, f"{name}.smoothing", (1 / scale).astype(np.float32))
    smoothed = ir.val(name, shape=before.shape, type=before.type)
    maker.append(ir.node("Mul", [before, factor], outputs=[smoothed], name=f"{name}.smooth"))
    for reader in group.readers:
        reader.node.replace_input_with(0, smoothed)


def _makers(maker: ir.Node) -> list[tuple[ir.Node, int]]:
    """The constants that scale the maker's output: weight and bias of a norm, or of a product and the Add behind it."""
    if maker.op_type == "LayerNormalization":
        return [(maker, 1), (maker, 2)]
    add = bias_add(maker)
    return [(maker, 1), (add, 1)] if add else [(maker, 1)]
