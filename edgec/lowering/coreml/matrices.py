"""Resampling that MIL has no operation for, as two products: it is linear in the image, and each side is for itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgec.graph.contract import OPSET

MOST = 1 << 22
"""Elements of one matrix."""


def resampling_matrix(node: onnx.NodeProto, size: int, new: int, scale: float | None) -> NDArray[np.float32]:
    """[new, size], of one side: what ONNX Runtime makes of each unit vector. `scale` is the node's, where it gives one."""
    from edgec.graph.session import open_session

    name, value = ("sizes", np.array([1, 1, size, new])) if scale is None else ("scales", np.array([1, 1, 1, scale], np.float32))
    resize = helper.make_node("Resize", ["x", "", name] if name == "scales" else ["x", "", "", name], ["y"])
    resize.attribute.extend(node.attribute)
    graph = helper.make_graph(
        [resize],
        "side",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, size, new])],
        [numpy_helper.from_array(value, name)],
    )
    session: Any = open_session(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10), threads=1
    )
    found = session.run(None, {"x": np.eye(size, dtype=np.float32)[None, None]})[0]
    return np.ascontiguousarray(found[0, 0].T)
