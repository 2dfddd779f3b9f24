"""1x1 convolutions before upsampling, not after.

Linear interpolation is a weighted mean of neighbours, and its weights sum to one: a 1x1 convolution, bias included, commutes
with it. In front of it the convolution has a quarter of the pixels (or fewer) to compute, to read and to write. In a DPT depth
head, moreover, the addition of the next finer map and the ReLU behind it then stand behind that map's convolution, and
TensorRT-RTX 1.7.1 puts both into its kernel: three kernels less and 3.7 MB at 224 pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import numpy as np
import onnx_ir as ir

from edgec.graph.passes.base import Rewrite, unread
from edgec.graph.values import add_constant, array_of, drop_unread, input_of, name_of, shape_of, uses
from edgec.lowering.tensorrt.names import FreeNames


class ConvolveBeforeUpsampling(Rewrite):
    """A 1x1 convolution that alone reads what a Resize made larger goes in front of it. But for rounding the values do not
    change. Ensures that no constant is left unread."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Swaps every such pair."""
        free = FreeNames(model.graph)
        convolutions = [node for node in model.graph if node.op_type == "Conv" and _is_pointwise(node) and _reads_larger(node)]
        for convolution in convolutions:
            _swap(convolution, free)
        drop_unread(model.graph)
        return ir.passes.PassResult(model, modified=bool(convolutions))

    def broken(self, model: ir.Model) -> Iterable[str]:
        """Constants that nothing reads."""
        yield from unread(model.graph)


def _is_pointwise(convolution: ir.Node) -> bool:
    weight, attributes = shape_of(input_of(convolution, 1)), convolution.attributes
    plain = not any(attributes.get_ints("pads", ())) and all(stride == 1 for stride in attributes.get_ints("strides", ()))
    constant = all(value is None or value.is_initializer() for value in convolution.inputs[1:])
    return weight is not None and prod(weight[2:]) == 1 and attributes.get_int("group", 1) == 1 and plain and constant


def _reads_larger(convolution: ir.Node) -> bool:
    upsampled = input_of(convolution)
    resize = upsampled.producer()
    if resize is None or resize.op_type != "Resize" or uses(upsampled) != 1:
        return False
    if not all(value is None or value.is_initializer() for value in resize.inputs[1:]):
        return False
    before, after, weight = (shape_of(value) for value in (input_of(resize), upsampled, input_of(convolution, 1)))
    if before is None or after is None or weight is None or before[:2] != after[:2]:
        return False
    modes = resize.attributes.get_string("mode", "nearest"), resize.attributes.get_string("coordinate_transformation_mode", "")
    # What is outside of the map would be an extrapolation's number in front of the weights, and not behind them.
    exact = modes[0] in ("nearest", "linear") and modes[1] != "tf_crop_and_resize"
    # A convolution that widens would make the upsampling larger by as much as it gets smaller itself.
    return exact and prod(before) < prod(after) and weight[0] <= weight[1]


def _swap(convolution: ir.Node, free: FreeNames) -> None:
    """The Resize keeps its node, and makes what the convolution made, under its name."""
    resize = input_of(convolution).producer()
    assert resize is not None
    source, upsampled, output = input_of(resize), resize.outputs[0], convolution.outputs[0]
    small, weight, before = ir.val(None, output.dtype), shape_of(input_of(convolution, 1)), shape_of(source)
    assert weight is not None
    assert before is not None
    small.shape = ir.Shape((before[0], weight[0], *before[2:]))
    graph = resize.graph
    assert graph is not None
    upsampled.shape = output.shape
    name = name_of(output)
    output.replace_all_uses_with(upsampled, replace_graph_outputs=True)
    inputs = [source, *convolution.inputs[1:]]
    attributes, own = list(convolution.attributes.values()), name_of(convolution)
    graph.remove(convolution, safe=True)
    small.name = free.take(f"{name}.small")
    resize.prepend(ir.Node("", "Conv", inputs, attributes, outputs=[small], name=own))
    resize.replace_input_with(0, small)
    sizes = resize.inputs[3] if len(resize.inputs) > 3 else None
    if sizes is not None and array_of(sizes).size == 4:  # of all axes, channels among them
        numbers = np.array([before[0], weight[0], *array_of(sizes)[2:]], np.int64)
        resize.replace_input_with(3, add_constant(graph, free.take(f"{name}.sizes"), numbers))
    upsampled.name = name
