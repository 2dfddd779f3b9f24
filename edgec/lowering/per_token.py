"""int8 per token in OpenVINO: weights as u8 constants behind Convert, Subtract and Multiply, which its CPU plugin recognises;
it then quantises the activations of such a product as it runs, by rows and groups of channels
(DYNAMIC_QUANTIZATION_GROUP_SIZE).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import gcd
from typing import Any

import numpy as np

from edgec.graph.plan import QuantisedWeight

GROUP_LIMIT = 384
"""The most channels that share a scale. On ViT-S/16 groups of 384 took 4 % less time than groups of 128, for a little less
fidelity. A product whose depth is no multiple of the group falls back to float."""
ZERO = 128
"""The zero point of unsigned weights."""


def compress_products(model: Any, weights: Mapping[str, QuantisedWeight]) -> int:
    """Give the named MatMuls of an `ov.Model` these weights, [C, out], in place. Returns the group size for the runtime."""
    from openvino import opset13 as op

    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul" or node.get_friendly_name() not in weights:
            continue
        weight = weights[node.get_friendly_name()]
        integers = (weight.integers.T.astype(np.int16) + ZERO).astype(np.uint8)
        zero = np.full((len(integers), 1), ZERO, np.uint8)
        centred = op.subtract(op.convert(op.constant(integers), "f32"), op.convert(op.constant(zero), "f32"))
        scaled = op.multiply(centred, op.constant(weight.scales[:, None]))
        product = op.matmul(node.input_value(0), scaled, False, True)
        product.set_friendly_name(node.get_friendly_name())
        for reader in list(node.output(0).get_target_inputs()):
            reader.replace_source_output(product.output(0))
    model.validate_nodes_and_infer_types()
    return group_size(len(weight.integers) for weight in weights.values())


def group_size(depths: Iterable[int]) -> int:
    """The largest divisor of all depths that is within `GROUP_LIMIT`."""
    common = gcd(*depths)
    return max(size for size in range(1, min(common, GROUP_LIMIT) + 1) if common % size == 0)
