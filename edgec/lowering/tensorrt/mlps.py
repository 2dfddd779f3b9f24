"""An MLP whose second product is fp16 has its first one in fp16, too.

A plan may leave the last products of a backbone in fp16 (`edgec.precision.recipes.tail_recipe`), among them second ones of MLPs.
If the first one multiplies bytes, the activation function between the two is a kernel of its own, because an int8 product has no
epilogue in TensorRT-RTX 1.7.1, and it has fp16 to read and to write, four times as wide as the residual stream. An fp16 product
applies the function itself. For a ViT-S/16 at 224 pixels whose last six products are fp16 (SM 86 and 120, int8-folded):

| first products of the last three MLPs | kernels | MB moved | MB of constants | products' multiplications in int8 |
| --- | --- | --- | --- | --- |
| int8 | 112 | 68.1 | 26.6 | 90 % |
| fp16 | 109 | 64.8 | 28.4 | 81 % |

Simulated with the distilled stand-in on 60 frames that calibration never saw, the worst percentile of patches is .999834 with
int8 and .999846 with fp16. (Everything in int8: .99970, 112 kernels, 66.4 MB; the last four products and two first ones in fp16:
.999831, 110 kernels, 65.5 MB.)

A gated MLP has two first products, and the gate stays a kernel of its own in either type: a ViT-S+/16, whose last seven products
are fp16, has 112 kernels and 83.4 MB with int8, and 112 and 84.0 with fp16. It is left as it is. So is one whose weights, which
fp16 doubles, outweigh what no longer moves: in a ConvNeXt-T's last stage 1.6 MB less moves, and 7.0 MB more weights are read.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import onnx_ir as ir

from edgec.graph.operations import PRODUCTS, is_of_a_head
from edgec.graph.plan import Precision, PrecisionPlan
from edgec.graph.values import input_of, name_of, shape_of

_BETWEEN = frozenset(("Add", "Mul", "Div", "Sub", "Erf", "Tanh", "Sigmoid", "Relu", "Gelu"))
"""Of what activation functions, biases and gates are made."""


def with_whole_mlps(hub: ir.Model, plan: PrecisionPlan) -> PrecisionPlan:
    """The plan with fp16 for every int8 product whose result reaches, through an activation function of it alone, a product in
    fp16, if that saves bytes."""
    joined: dict[str, Precision] = {}
    for node in hub.graph:
        if node.op_type in PRODUCTS and not is_of_a_head(node) and plan.precision_of(name_of(node)) == "fp16":
            first = _first_product(node)
            if first is not None and plan.precision_of(name_of(first)) == "int8" and _saves_bytes(first, node):
                joined[name_of(first)] = "fp16"
    return replace(plan, operations={**plan.operations, **joined}) if joined else plan


def _saves_bytes(first: ir.Node, second: ir.Node) -> bool:
    """Whether the activation function's kernel, which reads and writes fp16, moves more than what grows by a byte a number: the
    first product's weight, and its activation, which is written and read."""
    activation, weight, between = (_size(value) for value in (input_of(first), input_of(first, 1), input_of(second)))
    return 2 * 2 * between > weight + 2 * activation


def _size(value: ir.Value) -> int:
    """Numbers."""
    return prod(shape_of(value) or (0,))


def _first_product(second: ir.Node) -> ir.Node | None:
    """The product that makes what `second` reads; None if there are two, or if anything but elementwise operations lies between,
    or reads it, too."""
    products: list[ir.Node] = []
    seen: set[ir.Node] = {second}
    frontier: list[ir.Value] = [input_of(second)]
    while frontier:
        node = frontier.pop().producer()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.op_type in PRODUCTS:
            products.append(node)
        elif node.op_type in _BETWEEN:
            frontier += [value for value in node.inputs if value is not None and not value.is_initializer()]
        else:
            return None
    between = seen - {second}
    if any(use.node not in seen for node in between for value in node.outputs for use in value.uses()):
        return None
    return products[0] if len(products) == 1 else None
