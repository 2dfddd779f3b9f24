"""Small graphs, written down: one line a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgec.graph.passes.base import rewritten
from edgec.graph.plan import PrecisionPlan
from edgec.lowering.tensorrt.opset import ToOpset17
from edgec.lowering.tensorrt.simulation import RoundHalves
from edgec.lowering.tensorrt.writing import typed_model

F32, F16, U8, I8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT8

Tensor = tuple[str, int, Sequence[int | str | None] | None]


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """Names of inputs and outputs with spaces between; the node is named as its first output."""
    return helper.make_node(kind, inputs.split(), outputs.split(), name=outputs.split()[0], **attributes)


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    constants: Mapping[str, NDArray[Any]] | None = None,
    *,
    opset: int = 17,
) -> onnx.ModelProto:
    made = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(*tensor) for tensor in inputs],
        [helper.make_tensor_value_info(*tensor) for tensor in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def typed_graph(hub: ir.Model, plan: PrecisionPlan) -> tuple[onnx.ModelProto, dict[str, str]]:
    """As its file has it."""
    model, kept = typed_model(hub, plan)
    return ir.to_proto(model), kept


def opset_17(model: onnx.ModelProto) -> onnx.ModelProto:
    return ir.to_proto(rewritten(ir.from_proto(model), ToOpset17()))


def simulated(model: onnx.ModelProto) -> onnx.ModelProto:
    return ir.to_proto(rewritten(ir.from_proto(model), RoundHalves()))


def weights(*shape: int, kind: Any = np.float32, scale: float = 0.1, seed: int = 0) -> NDArray[Any]:
    return (np.random.default_rng(seed).normal(0, 1, shape) * scale).astype(kind)


def bytes_(*shape: int, seed: int = 0) -> NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)
