"""What does not fit fp16: constants beyond its range or among its subnormal numbers, activations that come near its limit.

Such an operation stays in float32, and the lowered model's settings say which and why.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgec.errors import ExportError
from edgec.graph.operations import PRODUCTS, constants

LIMIT = float(np.finfo(np.float16).max)
HEADROOM = 8.0
"""How many times larger than calibration's largest an activation may be on the robot before fp16 overflows. Massive activations
look alike across images, but not to a factor of two."""
LOSS = 2.0**-9
"""The share of a constant's norm that fp16 may take. Rounding of normal numbers takes 2^-12.5 on average and never more than
2^-11; beyond this the values are subnormal."""


def constant_problem(value: NDArray[Any]) -> str:
    """Why a constant cannot be fp16; empty if it can."""
    exact = value.astype(np.float64)
    largest = float(np.abs(exact).max(initial=0))
    if not largest <= LIMIT:
        return f"holds {largest:.4g}, fp16 ends at {LIMIT:.0f}"
    norm = float(np.linalg.norm(exact))
    lost = float(np.linalg.norm(exact - value.astype(np.float16).astype(np.float64)))
    if lost > LOSS * norm:
        return f"loses {lost / norm:.1%} in fp16: most of its values are below {np.finfo(np.float16).tiny:.2g}"
    return ""


def to_half(value: NDArray[Any], name: str) -> NDArray[np.float16]:
    """Raises `ExportError`, naming the constant, if fp16 cannot hold it."""
    problem = constant_problem(value)
    if problem:
        raise ExportError(
            f"The constant {name} does not fit fp16.",
            evidence=problem,
            remedy="keep the operation that reads it in float32, or build with --precision fp32",
        )
    return value.astype(np.float16)


def unfit_products(model: onnx.ModelProto) -> dict[str, str]:
    """By product, which of its constants (weight or bias) does not fit fp16, and why."""
    values = constants(model)
    found: dict[str, str] = {}
    products: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type in PRODUCTS:
            name = products[node.output[0]] = node.name
        elif node.op_type == "Add" and node.input[0] in products:
            name = products[node.input[0]]
        else:
            continue
        for constant in node.input:
            problem = constant_problem(numpy_helper.to_array(values[constant])) if constant in values else ""
            if problem and name not in found:
                found[name] = f"{constant} {problem}"
    return found
