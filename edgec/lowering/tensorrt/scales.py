"""Products of bytes that hand fp16 over, for compilers whose int8 kernels cannot scale each output channel.

TensorRT-RTX 1.7.1 writes an int8 product's sums as they are and scales the channels in the kernel behind it: four bytes a number,
which is more traffic than fp16 has (110 MB a frame against 73 for a ViT-S/16 at 224 pixels). Here the product itself has one
scale, a power of two that no sum can overflow fp16 with, and so hands two bytes over; what is left of each channel's scale is a
multiplication behind it, which the next kernel does anyway. Without the power of two the kernel would write unscaled sums as
fp16: 187,000 was seen, and fp16 ends at 65,504. On an engine that does scale channels as it sums, such as a Jetson's own may be,
this form can be the slower one: the board measures both.

DequantizeLinear gives fp16 from ONNX opset 19 on, which TensorRT 10.1 reads first.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgec.graph.numbers import LIMITS
from edgec.graph.passes.base import Rewrite, unread
from edgec.graph.values import add_constant, array_of, drop_unread, input_of, shape_of
from edgec.lowering.tensorrt.names import FreeNames
from edgec.lowering.tensorrt.opset import opset_differences
from edgec.lowering.tensorrt.typed import reads_bytes

OPSET = 19
IR_VERSION = 9
"""The file format of ONNX 1.14, which brought opset 19."""
MOST = 60_000.0
"""What no product may exceed in fp16, a little below where fp16 ends."""


class FoldScales(Rewrite):
    """Every int8 or fp8 matrix product with a weight, in a strongly typed graph, gives fp16, with its channels' scales behind it
    in float32. One whose activation has a scale that fp16 cannot hold stays as it is; so do convolutions.

    Requires operators that mean the same in opset 19. Ensures that no constant is left unread.
    """

    def missing(self, model: ir.Model) -> Iterable[str]:
        """Operators that mean something else in opset 19."""
        return opset_differences(model, OPSET)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Folds every product that may be, and states opset 19."""
        graph, free = model.graph, FreeNames(model.graph)
        activations: dict[ir.Value, ir.Value | None] = {}
        products = [node for node in graph if node.op_type == "MatMul" and reads_bytes(node) and _has_weight(node)]
        for product in products:
            pair = input_of(product)
            if pair not in activations:
                activations[pair] = _in_half(pair, free)
            half = activations[pair]
            if half is not None:
                _fold(product, half, free)
        graph.opset_imports[""], model.ir_version = OPSET, IR_VERSION
        RemoveUnusedNodesPass()(model)
        drop_unread(graph)
        return ir.passes.PassResult(model, modified=bool(products))

    def broken(self, model: ir.Model) -> Iterable[str]:
        """Constants that nothing reads."""
        yield from unread(model.graph)


def _has_weight(product: ir.Node) -> bool:
    """Whether the second side is a constant, as bytes."""
    dequantise = input_of(product, 1).producer()
    return dequantise is not None and dequantise.op_type == "DequantizeLinear" and input_of(dequantise).is_initializer()


def _in_half(dequantised: ir.Value, free: FreeNames) -> ir.Value | None:
    """The activation as fp16, with one scale on both sides of its bytes; None if fp16 cannot hold that to its last bit."""
    dequantise = dequantised.producer()
    quantise = input_of(dequantise).producer() if dequantise is not None else None
    assert dequantise is not None
    assert quantise is not None
    graph, scale = dequantise.graph, np.float16(array_of(input_of(dequantise, 1)))
    assert graph is not None
    if not np.finfo(np.float16).tiny <= scale < np.inf:
        return None
    # Rounded for the float32 side as well, so that both sides mean the same.
    same = add_constant(graph, free.take(f"{input_of(dequantise, 1).name}.rounded"), np.float32(scale))
    quantise.replace_input_with(1, same)
    dequantise.replace_input_with(1, same)
    half = ir.val(free.take(f"{dequantised.name}.fp16"), ir.DataType.FLOAT16, dequantised.shape)
    inputs = [input_of(dequantise), add_constant(graph, free.take(f"{half.name}.scale"), scale), *dequantise.inputs[2:]]
    dequantise.append(ir.node("DequantizeLinear", inputs, outputs=[half], name=half.name))
    return half


def _fold(product: ir.Node, activation: ir.Value, free: FreeNames) -> None:
    dequantise = input_of(product, 1).producer()
    maker = activation.producer()
    assert dequantise is not None
    assert maker is not None
    graph, weight = product.graph, input_of(dequantise)
    assert graph is not None
    sides, output, name = shape_of(weight), product.outputs[0], product.outputs[0].name
    assert sides is not None
    zero_point = input_of(dequantise, 2)
    largest = float(LIMITS["fp8" if zero_point.dtype == ir.DataType.FLOAT8E4M3FN else "s8"]) ** 2
    whole = MOST / (largest * sides[0] * float(array_of(input_of(maker, 1))))
    scale = np.float16(2.0 ** np.clip(np.floor(np.log2(whole)), -14, 15))
    rest = array_of(input_of(dequantise, 1)).astype(np.float32) / np.float32(scale)

    half_weight = ir.val(free.take(f"{dequantise.name}.fp16"), ir.DataType.FLOAT16, weight.shape)
    constants = [add_constant(graph, free.take(f"{half_weight.name}.{part}"), value) for part, value in
                 (("scale", scale), ("zero_point", np.zeros((), array_of(zero_point).dtype)))]  # fmt: skip
    product.prepend(ir.node("DequantizeLinear", [weight, *constants], outputs=[half_weight], name=half_weight.name))
    product.replace_input_with(0, activation)
    product.replace_input_with(1, half_weight)

    scaled = ir.val(name, ir.DataType.FLOAT, output.shape)
    output.replace_all_uses_with(scaled, replace_graph_outputs=True)
    output.name, output.type = free.take(f"{name}.half"), ir.TensorType(ir.DataType.FLOAT16)
    single = ir.val(free.take(f"{name}.single"), ir.DataType.FLOAT, output.shape)
    channels = add_constant(graph, free.take(f"{name}.channels"), rest)
    product.append(
        [
            ir.node("Cast", [output], {"to": int(ir.DataType.FLOAT)}, outputs=[single], name=single.name),
            ir.node("Mul", [single, channels], outputs=[scaled], name=channels.name),
        ]
    )
