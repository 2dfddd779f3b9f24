from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgec.graph.operations import operations
from edgec.graph.work import Work, count_work
from edgec.lowering.tensorrt import TensorRt
from edgec.lowering.tensorrt.writing import typed_model
from tests.lowering.cases import plan_of
from tests.lowering.tensorrt.graphs import F16, F32, graph, node, weights
from tests.support.models import CONVNEXT, VIT, exported


def test_what_a_product_takes_is_counted_by_hand() -> None:
    model = graph(
        [node("MatMul", "x w", "y"), node("Cast", "y", "z", to=F32)],
        [("x", F16, [2, 8])],
        [("z", F32, [2, 4])],
        {"w": weights(8, 4, kind=np.float16)},
    )
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("y", F16, [2, 4]))
    assert count_work(ir.from_proto(model)) == Work(
        macs={"fp16": 2 * 8 * 4}, weight_bytes=8 * 4 * 2, frame_bytes=2 * 8 * 2 + 2 * 4 * 4, exchanged_bytes=2 * 8 * 2 + 2 * 4 * 2
    )


@pytest.mark.parametrize("spec", [VIT, CONVNEXT], ids=["vit", "convnext"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_multiplication_of_a_model_is_counted_in_its_type(spec: object, precision: str) -> None:
    made = exported(spec)  # type: ignore[arg-type]
    plan = plan_of(TensorRt(), precision, made, **({"rest": "fp16"} if precision == "int8" else {}))
    work = count_work(typed_model(made.graph, plan)[0])
    actual = operations(made.graph)
    assert sum(work.macs.values()) == sum(operation.macs for operation in actual)
    int8 = sum(operation.macs for operation in actual if plan.precision_of(operation.name) == "int8")
    assert work.macs.get("int8", 0) == int8
    if precision != "fp32":
        assert work.macs.get("fp32", 0) == 0, "the patch embedding is fp16, too"
    assert work.frame_bytes > made.frames.nbytes


def test_smaller_types_have_smaller_weights() -> None:
    made = exported(VIT)
    works = {}
    for precision in ("fp32", "fp16", "int8"):
        plan = plan_of(TensorRt(), precision, made, **({"rest": "fp16"} if precision == "int8" else {}))
        works[precision] = count_work(typed_model(made.graph, plan)[0])
    assert works["fp32"].weight_bytes > works["fp16"].weight_bytes > works["int8"].weight_bytes
