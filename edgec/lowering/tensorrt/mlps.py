"""An MLP whose second product is fp16 has its first one in fp16, too.

A plan may leave the last products of a backbone in fp16 (`edgec.precision.recipes.tail_recipe`), among them second ones of MLPs. If
the first one multiplies bytes, the activation function between the two is a kernel of its own, because an int8 product has no
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
are fp16, has 112 kernels and 83.4 MB with int8, and 112 and 84.0 with fp16. It is left as it is.
"""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from edgec.graph.operations import PRODUCTS, is_of_a_head
from edgec.graph.plan import PrecisionPlan
from edgec.graph.values import input_of, name_of

_BETWEEN = frozenset(("Add", "Mul", "Div", "Sub", "Erf", "Tanh", "Sigmoid", "Relu", "Gelu"))
"""Of what activation functions, biases and gates are made."""


def with_whole_mlps(hub: ir.Model, plan: PrecisionPlan) -> PrecisionPlan:
    """The plan with fp16 for every int8 product whose result reaches, through an activation function of it alone, a product in
    fp16."""
    joined: set[str] = set()
    for node in hub.graph:
        if node.op_type in PRODUCTS and not is_of_a_head(node) and plan.precision_of(name_of(node)) == "fp16":
            first = _first_product(node)
            joined |= {first} if first and plan.precision_of(first) == "int8" else set()
    return replace(plan, operations={**plan.operations, **dict.fromkeys(sorted(joined), "fp16")}) if joined else plan


def _first_product(second: ir.Node) -> str:
    """The product that makes what `second` reads; empty if there are two, or if anything but elementwise operations lies between,
    or reads it, too."""
    products: set[str] = set()
    seen: set[ir.Node] = {second}
    frontier: list[ir.Value] = [input_of(second)]
    while frontier:
        node = frontier.pop().producer()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.op_type in PRODUCTS:
            products.add(name_of(node))
        elif node.op_type in _BETWEEN:
            frontier += [value for value in node.inputs if value is not None and not value.is_initializer()]
        else:
            return ""
    between = seen - {second}
    if any(use.node not in seen for node in between for value in node.outputs for use in value.uses()):
        return ""
    return products.pop() if len(products) == 1 else ""
