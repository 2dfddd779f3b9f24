"""Products of bytes at their largest, in the real runtimes: paired scales keep them exact where a CPU adds them in 16 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgec.backends import profiles as targets
from edgec.graph.numbers import weight_scales
from edgec.graph.passes.base import rewritten
from edgec.graph.passes.quantise import Quantise
from edgec.graph.plan import PrecisionPlan, Range
from edgec.graph.session import open_session
from edgec.host import facts as host

Floats = NDArray[np.float32]
ROWS, DEPTH, WIDTH = 9, 64, 32


def product(weight: Floats, *, paired: bool) -> onnx.ModelProto:
    """One int8 product of activations between 0 and 255, whose scale is one."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["y"], name="product")],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, ROWS, DEPTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, ROWS, WIDTH])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    plan = PrecisionPlan("int8", "fp32", {"product": "int8"}, {"x": Range(0.0, 255.0)}, paired=paired)
    return ir.to_proto(rewritten(ir.from_proto(model), Quantise(plan)))


def in_onnxruntime(model: onnx.ModelProto, frames: Floats, _: Path) -> Floats:
    actual: Floats = open_session(model, threads=1).run(["y"], {"x": frames})[0]
    return actual


def in_openvino(model: onnx.ModelProto, frames: Floats, folder: Path) -> Floats:
    import openvino as ov

    onnx.save(model, folder / "product.onnx")
    compiled = ov.Core().compile_model(folder / "product.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled([frames])[0])


@pytest.mark.parametrize("run", [in_onnxruntime, in_openvino], ids=["onnxruntime", "openvino"])
@pytest.mark.parametrize("pattern", [(1, 1), (1, 0), (0, 0, 1, 1), (-1, -1), (1, -1), (1, 0.5)], ids=str)
def test_paired_weights_never_saturate(run: object, pattern: tuple[float, ...], tmp_path: Path) -> None:
    weight = np.tile(np.resize(np.array(pattern, np.float32), DEPTH)[:, None], (1, WIDTH))
    frames = np.full((1, ROWS, DEPTH), 255, np.float32)
    scale = weight_scales(weight, 1, paired=True)
    expected = frames @ (np.rint(weight / scale) * scale)
    actual = run(product(weight, paired=True), frames, tmp_path)  # type: ignore[operator]
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("run", [in_onnxruntime, in_openvino], ids=["onnxruntime", "openvino"])
def test_without_it_they_do_where_the_profile_says_so(run: object, tmp_path: Path) -> None:
    """Else the test above could not fail."""
    int8 = targets.resolve(targets.HOST, host.facts()).int8
    if int8 is None or not int8.pairs_saturate:
        pytest.skip("this CPU sums products of bytes in 32 bits")
    weight, frames = np.ones((DEPTH, WIDTH), np.float32), np.full((1, ROWS, DEPTH), 255, np.float32)
    actual = run(product(weight, paired=False), frames, tmp_path)  # type: ignore[operator]
    assert actual.max() < 0.6 * DEPTH * 255
