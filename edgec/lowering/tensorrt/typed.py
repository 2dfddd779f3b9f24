"""The type of every node of a strongly typed graph (`casting` expresses it by Casts).

Which type, and why:

- *float32*: LayerNorm and Softmax; the pooled CLS of a ConvNeXt; what the caller gets.
- *The residual stream is fp16*, except where the plan says float32. It says so where calibration's largest value, with room for
  frames that are unlike calibration's (`edgec.lowering.halves.HEADROOM`), could overflow: there the massive activations of a DINO
  model stay wide. float32 everywhere would be a sixth of what an fp16 ViT-S/16 moves (73 MB a frame against 62, TensorRT-RTX
  1.7.1); simulated, 1 - cosine of its patches is 1.7e-7 on average against 1.0e-7.
- *The patch embedding is fp16*: `pixels` gives its weights a range that fp16 holds.
- *int8 products* read Q/DQ pairs and are float32 in the graph, bias included: in opset 17 QuantizeLinear takes and
  DequantizeLinear gives float32 only, and a Cast between DequantizeLinear and the product hides the pair from TensorRT's fusion
  (NVIDIA's Model Optimizer folds such casts away for that reason: `fold_dq_fp32_to_fp16_casts`). The product itself multiplies
  bytes.
- *fp16*: all other products with their biases, RoPE, the attention's two products with no Q/DQ between them, depthwise
  convolutions.
- *Operations in between* (layout, activation functions) are float32 only if everything before and after them is: between two int8
  products nothing is cast, and TensorRT can fuse them into the first product.
- *Heads* (`edgec.heads`) follow the plan's default and change nothing in the backbone's types. Their sums are no residual stream:
  calibration has seen what could overflow in them. After a head's last product everything is float32: in fp16 neighbouring scores
  become equal before a label is chosen, and a map that is upsampled in fp16 to be an output in float32 goes through the memory
  twice. Operations with a constant that fp16 would spoil, such as an epsilon, are float32 too. Integers stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from edgec.graph.operations import PRODUCTS, is_of_a_head
from edgec.graph.plan import PrecisionPlan
from edgec.graph.values import input_of, name_of
from edgec.lowering.halves import product_of, unfit_nodes

ALWAYS_FLOAT32 = (
    *("LayerNormalization", "InstanceNormalization", "Softmax", "LogSoftmax", "QuantizeLinear", "DequantizeLinear", "Cast"),
    *("ReduceMean", "ReduceSum", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"),
    *("CumSum", "GlobalAveragePool", "ArgMax", "ArgMin", "TopK"),
)
MOVES = (
    *("Reshape", "Transpose", "Slice", "Concat", "Gather", "Neg", "Identity"),
    *("Squeeze", "Unsqueeze", "Flatten", "Split", "Tile", "DepthToSpace", "SpaceToDepth", "Relu", "MaxPool"),
)
"""Operators that round nothing."""
OF_FLOAT32 = {"Resize": (1, 2)}
"""By operator, inputs that are float32 whatever it computes in: regions and scales."""


@dataclass(frozen=True)
class Types:
    """Names of nodes: `half` compute in fp16, `int8` are products of bytes; all others are float32. `free` are those whose type
    follows from their neighbours."""

    half: frozenset[str]
    int8: frozenset[str]
    free: frozenset[str]
    unfit: Mapping[str, str]
    """The nodes among these that are float32 because a constant does not fit fp16, each with the reason."""


def assign_types(model: ir.Model, plan: PrecisionPlan) -> Types:
    """The types of a hub graph that holds the plan's Q/DQ pairs. Of the plan only its default and its exceptions are read."""
    nodes = list(model.graph)
    fixed: dict[str, bool] = {}
    int8 = frozenset(name_of(node) for node in nodes if node.op_type in PRODUCTS and reads_bytes(node))
    residual = residual_adds(nodes)
    for node in nodes:
        name, product = name_of(node), product_of(node)
        if node.op_type in ALWAYS_FLOAT32:
            fixed[name] = False
        elif name in residual:
            fixed[name] = plan.precision_of(name) == "fp16"
        elif product is node:
            fixed[name] = name not in int8 and plan.precision_of(name) == "fp16"
        elif product is not None and input_of(node, 1).is_initializer():
            fixed[name] = fixed[name_of(product)]
    problems: dict[str, str] = {}
    if any(fixed.values()):
        free_nodes = (node for node in nodes if name_of(node) not in fixed)
        problems = unfit_nodes(free_nodes, (ir.DataType.FLOAT,), OF_FLOAT32)
    fixed |= dict.fromkeys(problems, False)
    before = _reached(nodes, fixed, ir.Node.predecessors)
    behind = _reached(list(reversed(nodes)), fixed, ir.Node.successors)
    half = {name for name, is_half in fixed.items() if is_half}
    free = [node for node in nodes if name_of(node) not in fixed]
    for node in free:
        name = name_of(node)
        anchors = behind[name] if is_of_a_head(node) else before[name] | behind[name]
        if any(fixed[anchor] for anchor in anchors):
            half.add(name)
    return Types(frozenset(half), int8, frozenset(map(name_of, free)), problems)


def free_chain(model: ir.Model, tensors: Collection[ir.Value], types: Types) -> frozenset[str]:
    """The products that make or read these tensors, directly or through nodes whose type is free."""
    products: set[str] = set()
    for forward in (False, True):
        frontier: set[ir.Value | None] = set(tensors)
        for node in model.graph if forward else reversed(model.graph):
            touched, other = (node.inputs, node.outputs) if forward else (node.outputs, node.inputs)
            if frontier.isdisjoint(value for value in touched if value is not None):
                continue
            product = product_of(node)
            if product is node:
                products.add(name_of(node))
            elif name_of(node) in types.free or (product is not None and input_of(node, 1).is_initializer()):
                frontier |= set(other)
    return frozenset(products)


def reads_bytes(product: ir.Node, index: int = 0) -> bool:
    """Whether this input of the product, by default its activation, comes from a DequantizeLinear."""
    maker = input_of(product, index).producer()
    return maker is not None and maker.op_type == "DequantizeLinear"


def residual_adds(nodes: list[ir.Node]) -> frozenset[str]:
    """Additions, outside of heads, of a tensor to something computed from it. (RoPE adds two parts that are not computed from
    each other.)"""
    numbers = {node: index for index, node in enumerate(nodes)}
    # One bit a node: the ancestors of a tensor as a number.
    ancestors: list[int] = []
    residual = set()
    for index, node in enumerate(nodes):
        made = [numbers[maker] for maker in node.predecessors()]
        if node.op_type == "Add" and len(made) == 2 and not is_of_a_head(node):
            one, other = made
            if ancestors[one] >> other & 1 or ancestors[other] >> one & 1:
                residual.add(name_of(node))
        known = 1 << index
        for number in made:
            known |= ancestors[number]
        ancestors.append(known)
    return frozenset(residual)


def _reached(
    nodes: Iterable[ir.Node], fixed: Mapping[str, bool], neighbours: Callable[[ir.Node], Iterable[ir.Node]]
) -> dict[str, set[str]]:
    """By free node, the fixed nodes next to it in one direction, through free nodes. The backbone does not look into heads."""
    reached: dict[str, set[str]] = {}
    for node in nodes:
        if name_of(node) in fixed:
            continue
        anchors: set[str] = set()
        for other in neighbours(node):
            if is_of_a_head(node) or not is_of_a_head(other):
                anchors |= {name_of(other)} if name_of(other) in fixed else reached[name_of(other)]
        reached[name_of(node)] = anchors
    return reached
