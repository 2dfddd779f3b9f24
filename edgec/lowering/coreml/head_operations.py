"""Operations that heads add to a backbone's: those that edgec builds itself, and what is usual in heads that come as ONNX.

Sources: onnx/docs/Operators.md, opset 18; coremltools, converters/mil/mil/ops/defs (github.com/apple/coremltools).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from edgec.lowering.coreml.entries import (
    Entry,
    argument,
    attributes,
    binary,
    convolution,
    padding,
    reduction,
    refusal,
    reshape,
    unary,
)
from edgec.lowering.coreml.matrices import MOST, resampling_matrix

if TYPE_CHECKING:
    from edgec.lowering.coreml.program import Translator

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)
WHOLE = (ir.DataType.INT32, ir.DataType.INT64)
SAMPLING = {"half_pixel": "UNALIGN_CORNERS", "pytorch_half_pixel": "UNALIGN_CORNERS", "align_corners": "STRICT_ALIGN_CORNERS"}
"""MIL's sampling mode of `resize_bilinear` by ONNX's coordinate transformation. PyTorch's half pixels differ where the result is
one pixel wide or high."""


def _cast(p: Translator, node: ir.Node) -> Any:
    """Between floats, integers and booleans. How many bits either has follows from the plan, not from the node."""
    to = ir.DataType(attributes(node)["to"])
    if to not in (*FLOATS, *WHOLE, ir.DataType.BOOL) or not p.is_made(node.inputs[0]):
        raise refusal(node, f"to={to.name}")
    x = p.made(node.inputs[0])
    if to == ir.DataType.BOOL:
        return p.mb.cast(x=x, dtype=p.text("bool"), name=p.name(node))
    if x.dtype != p.sdk.types.bool and p.is_float(x) == (to in FLOATS):
        return p.mb.identity(x=x, name=p.name(node))
    kind = "int32" if to in WHOLE else "fp16" if p.half(node) else "fp32"
    return p.mb.cast(x=x, dtype=p.text(kind), name=p.name(node))


def _resize(p: Translator, node: ir.Node) -> Any:
    """Of the last two of four dimensions: bilinear, or to the nearest by a whole factor, where all ways of rounding agree;
    anything else as two products of matrices."""
    options = attributes(node)
    mode, how = (options.get(name, default) for name, default in _RESIZED.items())
    old, new = p.shape(node.inputs[0]), p.shape(node.outputs[0])
    rounding = options.get("nearest_mode", "round_prefer_floor")
    if len(old) != 4 or old[:2] != new[:2] or options.get("axes"):
        raise refusal(node, f"shapes {list(old)} to {list(new)}, or axes")
    if options.get("antialias") or options.get("exclude_outside") or mode == "cubic":
        return _by_matrices(p, node, old, new)
    _check_scales(p, node, old, new)
    if mode == "linear" and how in SAMPLING and not (how == "pytorch_half_pixel" and 1 in new[2:]):
        return p.mb.resize_bilinear(
            x=p.first(node),
            target_size_height=p.number(new[2]),
            target_size_width=p.number(new[3]),
            sampling_mode=p.text(SAMPLING[how]),
            name=p.name(node),
        )
    whole = all(after % before == 0 for before, after in zip(old[2:], new[2:], strict=True))
    alike = (how, rounding) == ("asymmetric", "floor") or (how == "half_pixel" and rounding.startswith("round"))
    if mode == "nearest" and whole and alike:
        return p.mb.upsample_nearest_neighbor(
            x=p.first(node),
            scale_factor_height=p.number(new[2] // old[2]),
            scale_factor_width=p.number(new[3] // old[3]),
            name=p.name(node),
        )
    return _by_matrices(p, node, old, new)


def _by_matrices(p: Translator, node: ir.Node, old: tuple[int, ...], new: tuple[int, ...]) -> Any:
    region = attributes(node).get("coordinate_transformation_mode") == "tf_crop_and_resize"
    if region or max(old[2] * new[2], old[3] * new[3]) > MOST:
        raise refusal(node, f"sides {list(old[2:])} to {list(new[2:])}, or a region")
    scales = p.optional(node, 2)
    half, no = p.half(node), p.number(False)

    def matrix(axis: int, what: str) -> Any:
        scale = scales[axis] if scales is not None and scales.size else None
        values = resampling_matrix(node, old[axis], new[axis], scale)[None, None]
        return p.constants.floats(values, half, p.name(node, f"_{what}"))

    rows, columns = matrix(2, "rows"), matrix(3, "columns")
    wide = p.mb.matmul(x=p.first(node), y=columns, transpose_x=no, transpose_y=p.number(True), name=p.name(node, "_wide"))
    return p.mb.matmul(x=rows, y=wide, transpose_x=no, transpose_y=no, name=p.name(node))


_RESIZED = {"mode": "nearest", "coordinate_transformation_mode": "half_pixel"}


def _check_scales(p: Translator, node: ir.Node, old: tuple[int, ...], new: tuple[int, ...]) -> None:
    """ONNX resizes by the scales of the node, MIL by the ratio of the sizes: they must be equal."""
    scales = p.optional(node, 2)
    if scales is not None and scales.size and not np.allclose(scales, np.divide(new, old), rtol=1e-5):
        raise refusal(node, f"scales {scales.tolist()} of {list(old)}, which give no whole pixels")


def _conv_transpose(p: Translator, node: ir.Node) -> Any:
    options, half = attributes(node), p.half(node)
    weight = p.constants.floats(p.array(node.inputs[1]), half, p.name(node, "_weight"))
    rank = len(weight.shape) - 2
    pads, added = padding(node, rank), options.get("output_padding", [0] * rank)
    # `output_padding` gives back at the end what padding cuts off there. More than that would hold the bias alone.
    if "output_shape" in options or any(more > pads[2 * axis + 1] for axis, more in enumerate(added)):
        raise refusal(node, "output_padding or output_shape")
    pads = [amount - (added[index // 2] if index % 2 else 0) for index, amount in enumerate(pads)]
    return convolution(p, node, "conv_transpose", p.first(node), weight, pads)


def _gemm(p: Translator, node: ir.Node) -> Any:
    """alpha·x·B + beta·C, with constants for B and C: a linear layer."""
    options, half = attributes(node), p.half(node)
    if options.get("transA", 0) or len(p.shape(node.inputs[0])) != 2:
        raise refusal(node, "transA")
    weight = p.array(node.inputs[1]).astype(np.float32)
    weight = np.float32(options.get("alpha", 1.0)) * (weight if options.get("transB", 0) else weight.T)
    bias = np.zeros(len(weight), np.float32)
    added = p.optional(node, 2)
    if added is not None:
        if added.size not in (1, len(weight)) or added.shape[-1:] not in ((), (1,), (len(weight),)):
            raise refusal(node, f"a C of shape {list(added.shape)}")
        bias = bias + np.float32(options.get("beta", 1.0)) * added.astype(np.float32).reshape(-1)
    return p.mb.linear(
        x=p.first(node),
        weight=p.constants.floats(np.ascontiguousarray(weight), half, p.name(node, "_weight")),
        bias=p.constants.floats(bias, half, p.name(node, "_bias")),
        name=p.name(node),
    )


def _batch_norm(p: Translator, node: ir.Node) -> Any:
    """As a factor and an offset a channel: the node's own constants, such as a variance of 1e-6, need not fit fp16."""
    options, half = attributes(node), p.half(node)
    if options.get("training_mode", 0):
        raise refusal(node, "training_mode")
    scale, shift, mean, variance = (p.array(name).astype(np.float64) for name in node.inputs[1:5])
    scale = scale / np.sqrt(variance + options.get("epsilon", 1e-5))
    shape = (1, -1, *[1] * (len(p.shape(node.inputs[0])) - 2))
    factor, offset = (value.reshape(shape) for value in (scale, shift - mean * scale))
    x = p.mb.mul(x=p.first(node), y=p.constants.floats(factor, half, p.name(node, "_factor")), name=p.name(node, "_scaled"))
    return p.mb.add(x=x, y=p.constants.floats(offset, half, p.name(node, "_offset")), name=p.name(node))


def _global_mean(p: Translator, node: ir.Node) -> Any:
    axes = p.integers(*range(2, len(p.shape(node.inputs[0]))))
    return p.mb.reduce_mean(x=p.first(node), axes=axes, keep_dims=p.number(True), name=p.name(node))


def _pool(kind: str) -> Entry:
    def entry(p: Translator, node: ir.Node) -> Any:
        options = attributes(node)
        kernel = options["kernel_shape"]
        dilated = any(size != 1 for size in options.get("dilations", ()))
        if options.get("ceil_mode", 0) or dilated or options.get("storage_order", 0):
            raise refusal(node, "ceil_mode, dilations or storage_order")
        more = {}
        if kind == "avg_pool":
            more["exclude_padding_from_average"] = p.number(not options.get("count_include_pad", 0))
        return getattr(p.mb, kind)(
            x=p.first(node),
            kernel_sizes=p.integers(*kernel),
            strides=p.integers(*options.get("strides", [1] * len(kernel))),
            pad_type=p.text("custom"),
            pad=p.integers(*padding(node, len(kernel))),
            ceil_mode=p.number(False),
            **more,
            name=p.name(node),
        )

    return entry


def _clip(p: Translator, node: ir.Node) -> Any:
    """A bound that the node leaves out is the end of the type's own range."""
    largest = np.finfo(np.float16 if p.half(node) else np.float32).max
    low, high = p.optional(node, 1), p.optional(node, 2)
    return p.mb.clip(
        x=p.first(node),
        alpha=p.scalar(node, np.clip(-largest if low is None else low, -largest, largest), "low"),
        beta=p.scalar(node, np.clip(largest if high is None else high, -largest, largest), "high"),
        name=p.name(node),
    )


TABLE: dict[str, Entry] = {
    "Abs": unary("abs"),
    "ArgMax": argument("reduce_argmax"),
    "AveragePool": _pool("avg_pool"),
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "ConvTranspose": _conv_transpose,
    "Exp": unary("exp"),
    "Flatten": reshape,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_mean,
    "LeakyRelu": unary("leaky_relu", alpha=0.01),
    "Max": binary("maximum"),
    "MaxPool": _pool("max_pool"),
    "Min": binary("minimum"),
    "Pow": binary("pow"),
    "ReduceL2": reduction("reduce_l2_norm"),
    "ReduceMax": reduction("reduce_max"),
    "ReduceMin": reduction("reduce_min"),
    "ReduceSum": reduction("reduce_sum"),
    "Relu": unary("relu"),
    "Resize": _resize,
    "Sqrt": unary("sqrt"),
    "Squeeze": reshape,
    "Tanh": unary("tanh"),
    "Unsqueeze": reshape,
}
ATTRIBUTES = {
    "ArgMax": "axis keepdims select_last_index",
    "AveragePool": "auto_pad ceil_mode count_include_pad kernel_shape pads strides",
    "BatchNormalization": "epsilon momentum training_mode",
    "Cast": "saturate to",
    "ConvTranspose": "auto_pad dilations group kernel_shape output_padding output_shape pads strides",
    "Flatten": "axis",
    "Gemm": "alpha beta transA transB",
    "LeakyRelu": "alpha",
    "MaxPool": "auto_pad ceil_mode dilations kernel_shape pads storage_order strides",
    **dict.fromkeys(("ReduceL2", "ReduceMax", "ReduceMin", "ReduceSum"), "keepdims noop_with_empty_axes"),
    "Resize": "antialias axes coordinate_transformation_mode cubic_coeff_a exclude_outside extrapolation_value "
    "keep_aspect_ratio_policy mode nearest_mode",
}
