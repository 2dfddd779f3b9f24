"""Values that do not fit fp16: constants beyond its range or among its subnormal numbers, activations that come near its limit.

Operations with such values stay in float32; the lowered model's settings say which and why.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgec.errors import ExportError
from edgec.graph.operations import PRODUCTS
from edgec.graph.values import array_of, name_of

LIMIT = float(np.finfo(np.float16).max)
HEADROOM = 8.0
"""How many times larger than in calibration an activation may be on the robot before fp16 overflows. Massive activations are
similar across images, but may differ by more than a factor of two."""
LOSS = 2.0**-9
"""The largest error of a constant in fp16, as a share of its norm. Rounding normal numbers costs 2^-12.5 on average and never
more than 2^-11; a larger error means that values are subnormal."""


def near_the_end(peaks: Mapping[str, float]) -> set[str]:
    """The tensors that `HEADROOM` times their peak would overflow. `peaks` are the largest absolute values that calibration
    saw."""
    return {tensor for tensor, peak in peaks.items() if not peak * HEADROOM <= LIMIT}


def constant_problem(value: NDArray[Any]) -> str:
    """Why a constant does not fit fp16; empty if it does."""
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
    """The constant in fp16. Raises `ExportError`, which names it, if fp16 cannot hold it."""
    problem = constant_problem(value)
    if problem:
        raise ExportError(
            f"The constant {name} does not fit fp16.",
            evidence=problem,
            remedy="keep the operation that reads it in float32, or build with --precision fp32",
        )
    return value.astype(np.float16)


def unfit_products(model: ir.Model) -> dict[str, str]:
    """The products with a weight or bias that does not fit fp16, each with the reason."""
    problems: dict[str, str] = {}
    for node in model.graph:
        product = product_of(node)
        for value in node.inputs if product is not None else ():
            problem = unfit(value)
            if problem and product is not None:
                problems.setdefault(name_of(product), problem)
    return problems


def unfit_nodes(
    nodes: Iterable[ir.Node], kinds: Container[ir.DataType | None], skipped: Mapping[str, Sequence[int]] = MappingProxyType({})
) -> dict[str, str]:
    """The nodes that read a constant of one of these types which does not fit fp16, each with the reason. `skipped` are, by
    operator, inputs that are not looked at."""
    problems = {}
    for node in nodes:
        for index, value in enumerate(node.inputs):
            if (
                value is not None
                and value.dtype in kinds
                and index not in skipped.get(node.op_type, ())
                and (problem := unfit(value))
            ):
                problems[name_of(node)] = problem
    return problems


def unfit(value: ir.Value | None) -> str:
    """Why a constant that a node reads does not fit fp16, with its name; empty if it does, or if the value is no constant."""
    problem = constant_problem(array_of(value)) if value is not None and value.is_initializer() else ""
    return f"{value.name} {problem}" if value is not None and problem else ""


def product_of(node: ir.Node) -> ir.Node | None:
    """The product that the node is, or whose output it is the first to add something to; None for other nodes."""
    if node.op_type == "Add" and node.inputs[0] is not None:
        maker = node.inputs[0].producer()
        return maker if maker is not None and maker.op_type in PRODUCTS else None
    return node if node.op_type in PRODUCTS else None
