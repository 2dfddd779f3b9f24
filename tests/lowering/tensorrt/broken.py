"""Graphs that are wrong in one way each, for a parser, a compiler and edgec's rules to agree on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.lowering.tensorrt.graphs import F16, F32, U8, graph, node, weights

Constants = dict[str, NDArray[Any]]
X, Y = [("x", F32, [1, 64, 64])], [("y", F32, [1, 64, 64])]
WEIGHT = weights(64, 64)
QUANTISED = np.clip(np.rint(WEIGHT / 0.01), -127, 127).astype(np.int8)
PAIR = (node("QuantizeLinear", "x s z", "xq"), node("DequantizeLinear", "xq s z", "xd"))
UNPACKED = node("DequantizeLinear", "wq ws wz", "wd", axis=1)
PRODUCT = node("MatMul", "xd wd", "y")


def quantised(**changes: Any) -> Constants:
    """The constants of an int8 product, with some of them changed."""
    usual = {
        "s": np.float32(0.1),
        "z": np.int8(0),
        "wq": QUANTISED,
        "ws": np.full(64, 0.01, np.float32),
        "wz": np.zeros(64, np.int8),
    }
    return {name: np.asarray(value) for name, value in (usual | changes).items()}


def int8(*, nodes: Any = (*PAIR, UNPACKED, PRODUCT), inputs: Any = X, **changes: Any) -> onnx.ModelProto:
    return graph(list(nodes), inputs, Y, quantised(**changes))


def product(kind: str, weight: Any, *, opset: int = 17, name: str = "w", inputs: Any = X) -> onnx.ModelProto:
    return graph([node(kind, f"x {name}", "y")], inputs, Y, {"w": np.asarray(weight)}, opset=opset)


def branch(name: str, *nodes: onnx.NodeProto, shape: list[int]) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), name, [], [helper.make_tensor_value_info(name, F32, shape)])


def conditional(
    then: onnx.GraphProto, other: onnx.GraphProto, *after: onnx.NodeProto, given: str = "i", sides: Any = (1, 1, 64)
) -> onnx.ModelProto:
    constants = {"zero": np.float32(0), "from": np.array([0]), "to": np.array([32]), "axis": np.array([1])}
    choice = helper.make_node("If", ["c"], [given], name="if", then_branch=then, else_branch=other)
    nodes = [node("ReduceMax", "x", "m", keepdims=0), node("Greater", "m zero", "c"), choice, *after]
    return graph(nodes, X, [("y", F32, sides)], {name: np.asarray(value) for name, value in constants.items()})


def other_shapes() -> onnx.ModelProto:
    halves = branch("e", node("Slice", "x from to axis", "e"), shape=[1, 32, 64])
    whole = branch("t", node("Identity", "x", "t"), shape=[1, 64, 64])
    return conditional(whole, halves, node("ReduceMean", "i", "y", axes=[1], keepdims=1))


def other_ranks() -> onnx.ModelProto:
    mean = branch("e", node("ReduceMean", "x", "e", axes=[1], keepdims=0), shape=[1, 64])
    return conditional(branch("t", node("Identity", "x", "t"), shape=[1, 64, 64]), mean, given="y", sides=("a", "b", "c"))


def loop() -> onnx.ModelProto:
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", "going", "goes"), node("Mul", "v half", "next")],
        "body",
        [info("turn", TensorProto.INT64, []), info("going", TensorProto.BOOL, []), info("v", F32, [1, 64, 64])],
        [info("goes", TensorProto.BOOL, []), info("next", F32, [1, 64, 64])],
    )
    repeated = helper.make_node("Loop", ["n", "true", "x"], ["y"], name="loop", body=body)
    return graph([repeated], X, Y, {"n": np.array(3), "true": np.array(True), "half": np.array(0.5, np.float32)})


def smoothed() -> onnx.ModelProto:
    made = node("Resize", "x roi scales sizes", "y", mode="linear", antialias=1)
    made.input[1] = made.input[2] = ""
    sizes = {"sizes": np.array([1, 3, 32, 32])}
    return graph([made], [("x", F32, [1, 3, 64, 64])], [("y", F32, [1, 3, 32, 32])], sizes, opset=18)


def shaped_by_data() -> onnx.ModelProto:
    nodes = [
        node("ReduceMax", "x", "m", keepdims=0),
        node("Cast", "m", "k", to=TensorProto.INT64),
        node("Unsqueeze", "k first", "k1"),
        node("Concat", "k1 rest", "shape", axis=0),
        node("Reshape", "x shape", "y"),
    ]
    return graph(nodes, X, [("y", F32, ["a", "b"])], {"first": np.array([0]), "rest": np.array([-1])})


def cast(to: int, *nodes: onnx.NodeProto, **constants: Any) -> onnx.ModelProto:
    """In another type between two Casts: the nodes read `h` and make `g`."""
    both = [node("Cast", "x", "h", to=to), *nodes, node("Cast", "g", "y", to=F32)]
    return graph(both, X, Y, {name: np.asarray(value) for name, value in constants.items()})


def quantised_bias() -> onnx.ModelProto:
    nodes = (
        *PAIR,
        UNPACKED,
        node("MatMul", "xd wd", "p"),
        node("DequantizeLinear", "bq bs", "bd", axis=0),
        node("Add", "p bd", "y"),
    )
    return int8(nodes=nodes, bq=np.arange(64, dtype=np.int32), bs=np.full(64, 0.003, np.float32))


def cast_behind() -> onnx.ModelProto:
    casts = (node("Cast", "xd", "xh", to=F16), node("Cast", "wd", "wh", to=F16))
    return int8(nodes=(*PAIR, UNPACKED, *casts, node("MatMul", "xh wh", "yh"), node("Cast", "yh", "y", to=F32)))


def half_scales() -> onnx.ModelProto:
    pair = (node("QuantizeLinear", "xh s z", "xq"), PAIR[1])
    nodes = (node("Cast", "x", "xh", to=F16), *pair, UNPACKED, node("MatMul", "xd wd", "yh"), node("Cast", "yh", "y", to=F32))
    return int8(nodes=nodes, s=np.float16(0.1), ws=np.full(64, 0.01, np.float16))


def split() -> onnx.ModelProto:
    nodes = (
        *PAIR,
        UNPACKED,
        node("MatMul", "xd wd", "p"),
        node("Split", "p parts", "a b c", axis=2),
        node("Mul", "a b", "ab"),
        node("Mul", "ab c", "y"),
    )
    wide = np.concatenate([QUANTISED] * 3, axis=1)
    scales = {"ws": np.full(192, 0.01, np.float32), "wz": np.zeros(192, np.int8)}
    return int8(nodes=nodes, wq=wide, **scales, parts=np.array([64, 64, 64]))


def norm(outputs: str) -> onnx.ModelProto:
    more = [("mean", F32, [1, 64, 1])] if "mean" in outputs else []
    return graph([node("LayerNormalization", "x g b", outputs)], X, [*Y, *more], {"g": weights(64), "b": weights(64)})


def half_norm() -> onnx.ModelProto:
    gain = weights(64, kind=np.float16)
    return cast(F16, node("LayerNormalization", "h gain shift", "g"), gain=gain, shift=gain)


def sampled() -> onnx.ModelProto:
    grid = {"g": np.linspace(-1, 1, 128, dtype=np.float32).reshape(1, 8, 8, 2)}
    return graph([node("GridSample", "x g", "y")], [("x", F32, [1, 3, 16, 16])], [("y", F32, [1, 3, 8, 8])], grid)


def contrib() -> onnx.ModelProto:
    model = graph([helper.make_node("FastGelu", ["x"], ["y"], name="fg", domain="com.microsoft")], X, Y)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def dynamic() -> onnx.ModelProto:
    return graph([node("DynamicQuantizeLinear", "x", "q s z"), node("DequantizeLinear", "q s z", "y")], X, Y)


def newer(kind: str, opset: int) -> onnx.ModelProto:
    model = graph([node("MatMul", "x w", "p"), node(kind, "p", "y")], X, Y, {"w": WEIGHT}, opset=opset)
    model.ir_version = 11 if opset < 26 else 12
    return model


def frames() -> onnx.ModelProto:
    nodes = [node("Transpose", "f", "t", perm=[0, 3, 1, 2]), node("Cast", "t", "y", to=F32)]
    return graph(nodes, [("f", U8, [1, 8, 8, 3])], [("y", F32, [1, 3, 8, 8])])


BROKEN: dict[str, Callable[[], onnx.ModelProto]] = {
    "nothing": int8,
    "branches of other shapes": other_shapes,
    "branches of other ranks": other_ranks,
    "a loop": loop,
    "an unknown operator": lambda: graph([node("Det", "x", "y")], X, [("y", F32, [1])]),
    "another domain's operator": contrib,
    "dynamic quantisation": dynamic,
    "a norm's second output": lambda: norm("y mean"),
    "antialiasing": smoothed,
    "an open batch": lambda: int8(inputs=[("x", F32, ["n", 64, 64])]),
    "a shape by data": shaped_by_data,
    "a weight's zero point": lambda: int8(wz=np.full(64, 3, np.int8)),
    "an activation's zero point": lambda: int8(z=np.int8(-12)),
    "an unsigned activation": lambda: int8(z=np.uint8(128)),
    "an activation per channel": lambda: int8(
        nodes=(
            node("QuantizeLinear", "x s z", "xq", axis=2),
            node("DequantizeLinear", "xq s z", "xd", axis=2),
            UNPACKED,
            PRODUCT,
        ),
        s=np.full(64, 0.1, np.float32),
        z=np.zeros(64, np.int8),
    ),
    "a bias in 32 bits": quantised_bias,
    "a scale of zero": lambda: int8(ws=np.zeros(64, np.float32)),
    "half a pair": lambda: int8(nodes=(*PAIR, node("MatMul", "xd w", "y")), w=WEIGHT),
    "a cast behind the pair": cast_behind,
    "scales in fp16 and opset 17": half_scales,
    "two types": lambda: graph([node("Cast", "x", "h", to=F16), node("Add", "h w", "y")], X, Y, {"w": WEIGHT}),
    "float64": lambda: cast(TensorProto.DOUBLE, node("MatMul", "h w", "g"), w=WEIGHT.astype(np.float64)),
    "whole numbers": lambda: cast(TensorProto.INT64, node("Mul", "h w", "g"), w=np.full((64, 64), 2**33)),
    "a product of whole numbers": lambda: cast(TensorProto.INT64, node("MatMul", "h w", "g"), w=np.ones((64, 64), np.int64)),
    "bytes that are moved": frames,
    "infinity in fp16": lambda: cast(F16, node("Mul", "h w", "g"), w=np.full(64, np.inf, np.float16)),
    "a norm in fp16": half_norm,
    "opset 24": lambda: newer("Swish", 24),
    "opset 26": lambda: newer("Relu", 26),
    "an unknown input": lambda: product("MatMul", WEIGHT, name="nowhere"),
    "shapes that do not fit": lambda: product("MatMul", weights(32, 64)),
    "an int8 product that is split": split,
    "grid_sample": sampled,
}
