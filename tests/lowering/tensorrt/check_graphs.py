"""Small graphs for the checker's rules: what trips one, and what stands near it and does not."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from tests.lowering.tensorrt.graphs import F16, F32, U8, bytes_, graph, node, weights

Model = onnx.ModelProto


def relu(*, opset: int = 17, kind: int = F32) -> Model:
    return graph([node("Relu", "x", "y")], [("x", kind, [2, 4])], [("y", kind, [2, 4])], opset=opset)


def one(kind: str) -> Model:
    return graph([node(kind, "x", "y")], [("x", F32, [2, 4])], [("y", F32, [2, 4])])


def conditional(*, folded: bool = False) -> Model:
    if folded:
        return relu()
    branches = {
        f"{name}_branch": onnx.helper.make_graph(
            [onnx.helper.make_node("Relu", ["x"], [name])], name, [], [onnx.helper.make_tensor_value_info(name, F32, [2, 4])]
        )
        for name in ("then", "else")
    }
    made = onnx.helper.make_node("If", ["flag"], ["y"], name="rope", **branches)
    return graph([made], [("flag", TensorProto.BOOL, []), ("x", F32, [2, 4])], [("y", F32, [2, 4])])


def hidden_operator() -> Model:
    """In a branch, where only a walk through all graphs finds it."""
    model = conditional()
    [branch] = (attribute for attribute in model.graph.node[0].attribute if attribute.name == "then_branch")
    branch.g.node[0].op_type = "Bernoulli"
    return model


def grid_sample() -> Model:
    nodes = [node("GridSample", "x grid", "y")]
    return graph(nodes, [("x", F32, [1, 1, 4, 4]), ("grid", F32, [1, 2, 2, 2])], [("y", F32, [1, 1, 2, 2])])


def resized(*, sizes: tuple[int, ...] = (1, 2, 8, 8), opset: int = 17, kind: int = F32, **attributes: object) -> Model:
    """By linear interpolation, [1, 2, 4, 4]."""
    made = node("Resize", "x roi scales sizes", "y", **{"mode": "linear", **attributes})  # type: ignore[arg-type]
    made.input[1] = made.input[2] = ""
    values = {"sizes": np.array(sizes, np.int64)}
    return graph([made], [("x", kind, [1, 2, 4, 4])], [("y", kind, list(sizes))], values, opset=opset)


def scaled(*, scales: tuple[float, ...]) -> Model:
    """In fp16, but for the scales, which are never that."""
    made = node("Resize", "x roi scales", "y", mode="linear")
    made.input[1] = ""
    shape = [round(side * scale) for side, scale in zip((2, 2, 4, 4), scales, strict=True)]
    return graph([made], [("x", F16, [2, 2, 4, 4])], [("y", F16, shape)], {"scales": np.array(scales, np.float32)})


def best(*, kind: int = F32, to: int = TensorProto.INT32) -> Model:
    """The class of each pixel, in the type that the caller gets."""
    nodes = [node("ArgMax", "x", "best", axis=1, keepdims=0), node("Cast", "best", "y", to=to)]
    return graph(nodes, [("x", kind, [1, 3, 4, 4])], [("y", to, [1, 4, 4])])


def angles(kind: str) -> Model:
    nodes = [node("Mul", "x periods", "angles"), node(kind, "angles", "y")]
    return graph(nodes, [("x", F32, [2, 4])], [("y", F32, [2, 4])], {"periods": weights(4)})


def norm(*, kind: int = F32, outputs: str = "y", cast: bool = False) -> Model:
    constant = np.float16 if kind == F16 and not cast else np.float32
    nodes = [node("LayerNormalization", "h scale bias" if cast else "x scale bias", "n" if cast else outputs)]
    if cast:
        nodes = [node("Cast", "x", "h", to=F32), *nodes, node("Cast", "n", "y", to=F16)]
    values = {"scale": np.ones(4, constant), "bias": np.zeros(4, constant)}
    return graph(nodes, [("x", kind, [2, 4])], [("y", kind, [2, 4])], values)


def softmax(*, kind: int = F32) -> Model:
    return graph([node("Softmax", "x", "y")], [("x", kind, [2, 4])], [("y", kind, [2, 4])])


def norm_in_pieces(*, square: str = "Pow") -> Model:
    squared = node("Pow", "d two", "s") if square == "Pow" else node("Mul", "d d", "s")
    nodes = [
        node("ReduceMean", "x", "m", axes=[-1]),
        node("Sub", "x m", "d"),
        squared,
        node("ReduceMean", "s", "v", axes=[-1]),
        node("Add", "v eps", "e"),
        node("Sqrt", "e", "r"),
        node("Div", "d r", "y"),
    ]
    values = {"eps": np.array(1e-6, np.float32)} | ({"two": np.array(2, np.float32)} if square == "Pow" else {})
    return graph(nodes, [("x", F32, [2, 4])], [("y", F32, [2, 4])], values)


def centred() -> Model:
    nodes = [node("ReduceMean", "x", "m", axes=[-1]), node("Sub", "x m", "y")]
    return graph(nodes, [("x", F32, [2, 4])], [("y", F32, [2, 4])])


def attention(*, scale: str = "", quantised: bool = False) -> Model:
    """`scale`: on "q", on "both" sides as F.scaled_dot_product_attention has it, or "behind" the product."""
    nodes = [node("Transpose", "k", "kt", perm=[0, 1, 3, 2])]
    q, kt = "q", "kt"
    if scale in ("q", "both"):
        nodes.append(node("Mul", "q root", "qs"))
        q = "qs"
    if scale == "both":
        nodes.append(node("Mul", "kt root", "ks"))
        kt = "ks"
    nodes.append(node("MatMul", f"{q} {kt}", "scores"))
    last = "scores"
    if scale == "behind":
        nodes.append(node("Mul", "scores root", "scaled"))
        last = "scaled"
    nodes.append(node("Softmax", last, "p", axis=-1))
    p = "p"
    if quantised:
        nodes += [node("QuantizeLinear", "p s z", "pq"), node("DequantizeLinear", "pq s z", "pd")]
        nodes += [node("QuantizeLinear", "v s z", "vq"), node("DequantizeLinear", "vq s z", "vd")]
        p = "pd"
    nodes.append(node("MatMul", f"{p} {'vd' if quantised else 'v'}", "y"))
    shape = [1, 2, 8, 4]
    values: dict[str, np.ndarray] = {"root": np.array(0.5, np.float32)} if scale else {}  # type: ignore[type-arg]
    if quantised:
        values |= {"s": np.array(0.01, np.float32), "z": np.array(0, np.int8)}
    return graph(nodes, [(name, F32, shape) for name in "qkv"], [("y", F32, shape)], values)


def quantised(
    *,
    zero: int = 0,
    kind: type = np.int8,
    scale: object = 0.1,
    weight_scale: object = None,
    zero_point: bool = True,
    float_weight: bool = False,
    cast: bool = False,
    activation: bool = True,
    half_scale: bool = False,
) -> Model:
    """x through Q/DQ, times an int8 weight."""
    scales = np.asarray(scale, np.float32)
    by_channel = np.full(4, 0.01, np.float32) if weight_scale is None else np.asarray(weight_scale, np.float32)
    values: dict[str, np.ndarray] = {"s": scales, "z": np.full(scales.shape, zero, kind)}  # type: ignore[type-arg]
    values |= {"ws": by_channel, "wz": np.zeros(by_channel.shape, np.int8)}
    z, wz = (" z", " wz") if zero_point else ("", "")
    axis = {"axis": -1} if scales.size > 1 else {}
    nodes = []
    if activation:
        nodes += [node("QuantizeLinear", f"x s{z}", "q", **axis), node("DequantizeLinear", f"q s{z}", "d", **axis)]
    weight_axis = {"axis": 1} if by_channel.size > 1 else {}
    if float_weight:
        values["w"] = weights(8, 4)
        nodes += [
            node("QuantizeLinear", "w ws wz", "wq", **weight_axis),
            node("DequantizeLinear", "wq ws wz", "wd", **weight_axis),
        ]
    else:
        values["w"] = bytes_(8, 4)
        nodes.append(node("DequantizeLinear", f"w ws{wz}", "wd", **weight_axis))
    left, right, kind_out = "d" if activation else "x", "wd", F32
    if cast:
        nodes += [node("Cast", f"{left}", "dh", to=F16), node("Cast", "wd", "wh", to=F16)]
        left, right, kind_out = "dh", "wh", F16
    nodes.append(node("MatMul", f"{left} {right}", "y"))
    read = {name for each in nodes for name in each.input}
    model = graph(
        nodes, [("x", F32, [2, 8])], [("y", kind_out, [2, 4])], {name: value for name, value in values.items() if name in read}
    )
    if half_scale:
        for entry in model.graph.initializer:
            if entry.name in ("s", "ws"):
                entry.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(entry).astype(np.float16), entry.name))
    return model


def bias(*, kind: type) -> Model:
    values = {"b": np.arange(4).astype(kind), "s": np.array(0.1, np.float32), "z": np.array(0, kind)}
    return graph(
        [node("DequantizeLinear", "b s z", "d"), node("Add", "x d", "y")], [("x", F32, [2, 4])], [("y", F32, [2, 4])], values
    )


def frames(first: str) -> Model:
    nodes = {
        "Cast": [node("Cast", "x", "f", to=F32), node("Transpose", "f", "y", perm=[0, 3, 1, 2])],
        "Transpose": [node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Cast", "t", "y", to=F32)],
    }[first]
    return graph(nodes, [("x", U8, [1, 4, 4, 3])], [("y", F32, [1, 3, 4, 4])])


def cast_to(kind: int) -> Model:
    return graph([node("Cast", "x", "c", to=kind), node("Cast", "c", "y", to=F32)], [("x", F32, [2])], [("y", F32, [2])])


def mixed(*, right: int) -> Model:
    return graph([node("Add", "x a", "y")], [("x", F32, [2]), ("a", right, [2])], [("y", F32, [2])])


def half_constant(value: object) -> Model:
    return graph([node("Add", "x c", "y")], [("x", F16, [4])], [("y", F16, [4])], {"c": np.asarray(value, np.float16)})


def opened() -> Model:
    return graph([node("Relu", "x", "y")], [("x", F32, ["batch", 4])], [("y", F32, ["batch", 4])])
