"""Changing constants of single nodes, where the exporter lets equal constants of several nodes share one."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgec.graph.values import add_constant, array_of, input_of


def get_constant(node: ir.Node, index: int) -> NDArray[np.float64]:
    """In float64, so that what becomes of it is rounded once."""
    return array_of(input_of(node, index)).astype(np.float64)


def set_constant(node: ir.Node, index: int, value: NDArray[np.float64]) -> None:
    """In float32. A constant that others read too becomes the node's own first; the tensor itself may be another model's as
    well and is never written to."""
    assert node.graph is not None
    rounded, constant = np.ascontiguousarray(value, dtype=np.float32), input_of(node, index)
    if len(constant.uses()) > 1:
        node.replace_input_with(index, add_constant(node.graph, f"{node.name}.own{index}", rounded))
    else:
        constant.const_value = ir.tensor(rounded, name=constant.name)


def bias_add(product: ir.Node) -> ir.Node | None:
    """The Add of a constant to a product's output, which is its bias; None for a product without a bias."""
    for node in product.outputs[0].consumers():
        if node.op_type == "Add" and node.inputs[0] is product.outputs[0] and input_of(node, 1).is_initializer():
            return node
    return None
