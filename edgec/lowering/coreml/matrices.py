"""Resampling that MIL has no operation for, as two products: it is linear in the image, and the two sides are independent."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgec.graph.contract import OPSET
from edgec.graph.values import add_constant

MOST = 1 << 22
"""Elements of one matrix."""


def resampling_matrix(node: ir.Node, size: int, new: int, scale: float | None) -> NDArray[np.float32]:
    """The matrix [new, size] that resamples one side of an image: ONNX Runtime's result for each unit vector. `scale` is the
    node's, where it has one."""
    from edgec.graph.session import open_session

    side, out = ir.val("x", ir.DataType.FLOAT, [1, 1, size, size]), ir.val("y", ir.DataType.FLOAT, [1, 1, size, new])
    graph = ir.Graph([side], [out], nodes=[], opset_imports={"": OPSET}, name="side")
    more: list[ir.Value | None] = [None, None]
    if scale is None:
        more.append(add_constant(graph, "sizes", np.array([1, 1, size, new])))
    else:
        more[1] = add_constant(graph, "scales", np.array([1, 1, 1, scale], np.float32))
    graph.append(ir.Node("", "Resize", [side, *more], node.attributes.values(), outputs=[out]))
    session: Any = open_session(ir.Model(graph, ir_version=10), threads=1)
    resized = session.run(None, {"x": np.eye(size, dtype=np.float32)[None, None]})[0]
    return np.ascontiguousarray(resized[0, 0].T)
