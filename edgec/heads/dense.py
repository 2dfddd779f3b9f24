"""Linear classifiers, linear segmentation and perceptrons as nodes of the hub graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import TensorProto

from edgec.heads.building import Builder
from edgec.heads.types import Array, Head
from edgec.heads.weights import NORM


def build_linear(head: Head, builder: Builder) -> str:
    """`scores` [N, C]: of CLS, of the patches' mean, or of both side by side."""
    x = head.inputs[0]
    if "patches" in head.inputs:
        n, width = builder.shapes["cls"]
        x = mean = builder.node("ReduceMean", ["patches", builder.integers(1, 2)], "mean", (n, width), keepdims=0)
    if len(head.inputs) == 2:
        x = builder.node("Concat", ["cls", mean], "features", (n, 2 * width), axis=1)
    return builder.product(x, "scores", head.weights["weight"], head.weights["bias"])


def build_segmentation(head: Head, builder: Builder) -> str:
    """One product a patch: what normalises the channels is in its weights."""
    weight, bias = folded(head.weights, head.description.norm_eps)
    return over_the_frame(head, builder, builder.product(side_by_side(head, builder), "classes", weight, bias))


def build_mlp(head: Head, builder: Builder) -> str:
    x, count = side_by_side(head, builder), len(head.weights) // 2
    for index in range(count):
        x = builder.product(x, f"layer{index}", head.weights[f"{index}.weight"], head.weights[f"{index}.bias"])
        if index < count - 1:
            gelu = head.description.activation == "gelu"
            x = builder.gelu(x, f"layer{index}") if gelu else builder.same("Relu", [x], f"layer{index}.relu")
    return x if head.output == "values" else over_the_frame(head, builder, x)


def folded(weights: Mapping[str, Array], eps: float) -> tuple[Array, Array]:
    """A 1x1 convolution's weight [C, D] and bias [C] with the batch norm before it in them: in float64, rounded once."""
    weight, bias = weights["weight"].astype(np.float64), weights["bias"].astype(np.float64)
    if "norm.mean" in weights:
        scale, shift, mean, variance = (weights[name].astype(np.float64) for name in NORM)
        scale = scale / np.sqrt(variance + eps)
        weight, bias = weight * scale, bias + weight @ (shift - mean * scale)
    return weight.astype(np.float32), bias.astype(np.float32)


def side_by_side(head: Head, builder: Builder) -> str:
    """The maps that the head reads, [N, rows, columns, all channels]; those of another resolution at the first one's."""
    first = head.inputs[0]
    if len(head.inputs) == 1:
        return first
    size = builder.shapes[first][1:3]
    parts = [first]
    for name in head.inputs[1:]:
        part = name
        if builder.shapes[name][1:3] != size:
            moved = builder.resize(builder.channels_first(name, name), f"{name}.resize", (size[0], size[1]))
            part = builder.channels_last(moved, name)
        parts.append(part)
    shape = (*builder.shapes[first][:3], sum(builder.shapes[part][-1] for part in parts))
    return builder.node("Concat", parts, "features", shape, axis=3)


def over_the_frame(head: Head, builder: Builder, x: str) -> str:
    """From scores a patch, [N, rows, columns, C], to logits or labels a pixel: upsampled first, as Meta's evaluation does."""
    planes = builder.resize(builder.channels_first(x, "classes"), "upsample", builder.frame)
    if head.output == "logits":
        return planes
    n, _, rows, columns = builder.shapes[planes]
    best = builder.node("ArgMax", [planes], "best", (n, rows, columns), axis=1, keepdims=0)
    return builder.same("Cast", [best], "labels", to=TensorProto.INT32)
