"""The imitation rounds every fp16 tensor, and nothing else; ONNX Runtime by itself would not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from edgec.graph.session import open_session
from edgec.lowering.tensorrt.simulation import product_types
from edgec.precision.static import uniform
from tests.lowering.tensorrt.graphs import F16, F32, graph, node, simulated, typed_graph, weights
from tests.support.models import VIT, exported

Half = NDArray[np.float16]

MATRIX, BIAS = weights(64, 64, kind=np.float16, scale=0.3), weights(64, kind=np.float16, scale=1, seed=1)
CHAIN = graph(
    [
        node("Cast", "x", "half", to=F16),
        node("MatMul", "half matrix", "product"),
        node("Add", "product bias", "sum"),
        node("Mul", "sum sum", "square"),
        node("Erf", "square", "erf"),
        node("Add", "erf sum", "last"),
        node("Cast", "last", "y", to=F32),
    ],
    [("x", F32, [8, 64])],
    [("y", F32, [8, 64])],
    {"matrix": MATRIX, "bias": BIAS},
)
CHAIN.graph.value_info.extend(
    onnx.helper.make_tensor_value_info(name, F16, [8, 64]) for name in ("half", "product", "sum", "square", "erf", "last")
)


def run(model: onnx.ModelProto, x: NDArray[Any]) -> NDArray[Any]:
    result: NDArray[Any] = open_session(model, optimise=False).run(None, {"x": x})[0]
    return result


def by_hand(x: NDArray[np.float32]) -> NDArray[np.float32]:
    def rounded(value: NDArray[Any]) -> NDArray[np.float32]:
        return value.astype(np.float16).astype(np.float32)

    product = rounded(rounded(x) @ MATRIX.astype(np.float32))
    total = rounded(product + BIAS.astype(np.float32))
    square = rounded(total * total)
    erf = rounded(np.vectorize(math.erf)(square.astype(np.float64)).astype(np.float32))
    return rounded(erf + total)


def test_every_tensor_is_rounded_to_fp16() -> None:
    x = weights(8, 64, scale=3, seed=2)
    actual, expected = run(simulated(CHAIN), x), by_hand(x)
    # The sum of a product may land on the other side of a rounding boundary: one unit in the last place, now and then.
    assert np.mean(actual == expected) > 0.99
    assert np.abs(actual - expected).max() <= 2.0**-10 * np.abs(expected).max() * 2
    np.testing.assert_array_equal(actual, actual.astype(np.float16).astype(np.float32))


def test_onnx_runtime_by_itself_takes_the_rounding_out() -> None:
    """Why the graph is rewritten. If this fails, a newer ONNX Runtime rounds, and simulation.py can be simpler."""
    x = weights(8, 64, scale=3, seed=2)
    exact = x.astype(np.float32) @ MATRIX.astype(np.float32) + BIAS.astype(np.float32)
    exact = exact + np.vectorize(math.erf)((exact * exact).astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(run(CHAIN, x), exact, atol=1e-4)
    assert np.mean(run(CHAIN, x) == by_hand(x)) < 0.1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (65504.0, 65504.0),
        (65519.9, 65504.0),
        (65520.0, np.inf),
        (-7e4, -np.inf),
        (2.0**-24, 2.0**-24),
        (2.0**-26, 0.0),
        (6e-8, 2.0**-24),
    ],
)
def test_overflow_and_subnormal_numbers_are_fp16_s(value: float, expected: float) -> None:
    model = graph(
        [node("Cast", "x", "half", to=F16), node("Cast", "half", "y", to=F32)],
        [("x", F32, [1])],
        [("y", F32, [1])],
    )
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("half", F16, [1]))
    assert run(simulated(model), np.array([value], np.float32))[0] == expected


def test_what_the_graph_says_is_half_is_half_inside_a_whole_model() -> None:
    made = exported(VIT)
    model, _ = typed_graph(made.graph, uniform("fp16"))
    half = [value.name for value in model.graph.value_info if value.type.tensor_type.elem_type == F16]
    full = [value.name for value in model.graph.value_info if value.type.tensor_type.elem_type == F32]
    assert len(half) > 80
    wide = {"blocks.0.norm1", "blocks.1.norm2", "blocks.0.attn.softmax", "blocks.1.attn.softmax", "patches"}
    assert wide <= {*full, *(value.name for value in model.graph.output)}
    watched = simulated(model)
    names = [*half, *full]
    watched.graph.output.extend(onnx.helper.make_tensor_value_info(name, F32, None) for name in names)
    actual = dict(zip(names, open_session(watched, optimise=False).run(names, {"frames": made.frames}), strict=True))
    for name in half:
        np.testing.assert_array_equal(actual[name], actual[name].astype(np.float16).astype(np.float32), err_msg=name)
    rounded = {name for name in full if np.array_equal(actual[name], actual[name].astype(np.float16).astype(np.float32))}
    # Casts of fp16, and pixels, are of course what they were; the arithmetic in float32 is not.
    assert not rounded & wide


def test_a_float32_graph_is_left_alone() -> None:
    made = exported(VIT)
    model, _ = typed_graph(made.graph, uniform("fp32"))
    assert [each.op_type for each in simulated(model).graph.node] == [each.op_type for each in model.graph.node]
    assert product_types(ir.from_proto(model)) == {"fp32": 17}
