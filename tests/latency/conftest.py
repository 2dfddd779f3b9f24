"""Small models that the real runtimes run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, checker, helper, numpy_helper, save

from edgec.lowering.base import LoweredModel

SIDE = 32
SETTINGS: dict[str, dict[str, Any]] = {"onnxruntime": {"precision": "fp32"}, "openvino": {"INFERENCE_PRECISION_HINT": "f32"}}

MakeModel = Callable[..., LoweredModel]


def save_model(path: Path, width: int, batch: int) -> None:
    """uint8 frames [N, 32, 32, 3] to `cls` [N, width], by two products a pixel: the larger `width`, the slower."""
    random = np.random.default_rng(0)
    weights = {
        "first": random.standard_normal((3, width), dtype=np.float32),
        "second": random.standard_normal((width, width), dtype=np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["frames"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["pixels", "first"], ["wide"]),
        helper.make_node("MatMul", ["wide", "second"], ["mixed"]),
        helper.make_node("ReduceMean", ["mixed"], ["cls"], axes=[1, 2], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, [batch, SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("cls", TensorProto.FLOAT, [batch, width])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(model, path)


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Makes a model file; OpenVINO reads the same ONNX file as ONNX Runtime."""

    def make(name: str, runtime: str = "onnxruntime", *, width: int = 16, batch: int = 1) -> LoweredModel:
        save_model(tmp_path / name / "model.onnx", width, batch)
        return LoweredModel(runtime, tmp_path / name, "model.onnx", ("model.onnx",), SETTINGS[runtime])

    return make


def frames(count: int = 3, batch: int = 1) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(0, 256, (count, batch, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(name="frames")
def _frames() -> Callable[..., np.ndarray[Any, np.dtype[np.uint8]]]:
    return frames
