"""What heads bring beside a backbone's operations: those that edgec builds itself, and what is usual in heads that come as ONNX.

Sources: onnx/docs/Operators.md, opset 18; coremltools, converters/mil/mil/ops/defs (github.com/apple/coremltools).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from edgec.lowering.coreml.entries import Entry, attributes, binary, padding, reduction, refusal, unary
from edgec.lowering.coreml.matrices import MOST, resampling_matrix

if TYPE_CHECKING:
    from edgec.lowering.coreml.program import Translator

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)
WHOLE = (ir.DataType.INT32, ir.DataType.INT64)
SAMPLING = {"half_pixel": "UNALIGN_CORNERS", "pytorch_half_pixel": "UNALIGN_CORNERS", "align_corners": "STRICT_ALIGN_CORNERS"}
"""By ONNX's coordinate transformation, that of `resize_bilinear`. PyTorch's half pixels differ where one pixel results."""


def _argmax(p: Translator, node: ir.Node) -> Any:
    """int32, where ONNX has int64. Of equal values either may be taken."""
    said = attributes(node)
    if said.get("select_last_index", 0):
        raise refusal(node, "select_last_index")
    return p.mb.reduce_argmax(
        x=p.tensor(node.inputs[0], p.half(node)),
        axis=p.number(int(said.get("axis", 0))),
        keep_dims=p.number(bool(said.get("keepdims", 1))),
        name=p.name(node),
    )


def _cast(p: Translator, node: ir.Node) -> Any:
    """Between floats and whole numbers; how wide either is, is the plan's affair."""
    to = ir.DataType(attributes(node)["to"])
    if to not in (*FLOATS, *WHOLE, ir.DataType.BOOL) or not p.is_made(node.inputs[0]):
        raise refusal(node, f"to={to.name}")
    x = p.made(node.inputs[0])
    if to == ir.DataType.BOOL or x.dtype == p.sdk.types.bool:
        kind = "bool" if to == ir.DataType.BOOL else "int32" if to in WHOLE else "fp16" if p.half(node) else "fp32"
        return p.mb.cast(x=x, dtype=p.text(kind), name=p.name(node))
    if p.is_float(x) == (to in FLOATS):
        return p.mb.identity(x=x, name=p.name(node))
    kind = "int32" if to in WHOLE else "fp16" if p.half(node) else "fp32"
    return p.mb.cast(x=x, dtype=p.text(kind), name=p.name(node))


def _resize(p: Translator, node: ir.Node) -> Any:
    """Of the last two of four dimensions: bilinear, or to the nearest by a whole factor, where all roundings are one."""
    said = attributes(node)
    mode, how = (said.get(name, default) for name, default in _RESIZED.items())
    shape, wanted = p.shape(node.inputs[0]), p.shape(node.outputs[0])
    rounding = said.get("nearest_mode", "round_prefer_floor")
    if len(shape) != 4 or shape[:2] != wanted[:2] or said.get("axes"):
        raise refusal(node, f"shapes {list(shape)} to {list(wanted)}, or axes")
    if said.get("antialias") or said.get("exclude_outside") or mode == "cubic":
        return _by_matrices(p, node, shape, wanted)
    _check_scales(p, node, shape, wanted)
    x, half = node.inputs[0], p.half(node)
    if mode == "linear" and how in SAMPLING and not (how == "pytorch_half_pixel" and 1 in wanted[2:]):
        return p.mb.resize_bilinear(
            x=p.tensor(x, half),
            target_size_height=p.number(wanted[2]),
            target_size_width=p.number(wanted[3]),
            sampling_mode=p.text(SAMPLING[how]),
            name=p.name(node),
        )
    whole = all(new % old == 0 for old, new in zip(shape[2:], wanted[2:], strict=True))
    alike = (how, rounding) == ("asymmetric", "floor") or (how == "half_pixel" and rounding.startswith("round"))
    if mode == "nearest" and whole and alike:
        return p.mb.upsample_nearest_neighbor(
            x=p.tensor(x, half),
            scale_factor_height=p.number(wanted[2] // shape[2]),
            scale_factor_width=p.number(wanted[3] // shape[3]),
            name=p.name(node),
        )
    return _by_matrices(p, node, shape, wanted)


def _by_matrices(p: Translator, node: ir.Node, shape: tuple[int, ...], wanted: tuple[int, ...]) -> Any:
    said = attributes(node)
    if (
        said.get("coordinate_transformation_mode") == "tf_crop_and_resize"
        or max(shape[2] * wanted[2], shape[3] * wanted[3]) > MOST
    ):
        raise refusal(node, f"sides {list(shape[2:])} to {list(wanted[2:])}, or a region")
    scales = p.array(node.inputs[2]).tolist() if len(node.inputs) > 2 and node.inputs[2] else []
    half, no = p.half(node), p.number(False)
    rows, columns = (
        p.constants.floats(
            resampling_matrix(node, shape[axis], wanted[axis], scales[axis] if scales else None)[None, None],
            half,
            p.name(node, f"_{what}"),
        )
        for axis, what in ((2, "rows"), (3, "columns"))
    )
    x = p.tensor(node.inputs[0], half)
    wide = p.mb.matmul(x=x, y=columns, transpose_x=no, transpose_y=p.number(True), name=p.name(node, "_wide"))
    return p.mb.matmul(x=rows, y=wide, transpose_x=no, transpose_y=no, name=p.name(node))


_RESIZED = {"mode": "nearest", "coordinate_transformation_mode": "half_pixel"}


def _check_scales(p: Translator, node: ir.Node, shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    """ONNX goes by the scale that is given, MIL by both sizes: they must say the same."""
    if len(node.inputs) > 2 and node.inputs[2]:
        scales = p.array(node.inputs[2])
        if scales.size and not np.allclose(scales, np.divide(wanted, shape), rtol=1e-5):
            raise refusal(node, f"scales {scales.tolist()} of {list(shape)}, which give no whole pixels")


def _conv_transpose(p: Translator, node: ir.Node) -> Any:
    said, half = attributes(node), p.half(node)
    weight = p.constants.floats(p.array(node.inputs[1]), half, p.name(node, "_weight"))
    rank = len(weight.shape) - 2
    pads, more = padding(node, rank), said.get("output_padding", [0] * rank)
    # What is added behind is what was to be cut away there; beyond that it would be the bias alone.
    if "output_shape" in said or any(added > pads[2 * axis + 1] for axis, added in enumerate(more)):
        raise refusal(node, "output_padding or output_shape")
    pads = [side - (more[place // 2] if place % 2 else 0) for place, side in enumerate(pads)]
    return p.mb.conv_transpose(
        x=p.tensor(node.inputs[0], half),
        weight=weight,
        **({"bias": p.tensor(node.inputs[2], half)} if len(node.inputs) > 2 else {}),
        strides=p.integers(*said.get("strides", [1] * rank)),
        pad=p.integers(*pads),
        pad_type=p.text("custom"),
        dilations=p.integers(*said.get("dilations", [1] * rank)),
        groups=p.number(int(said.get("group", 1))),
        name=p.name(node),
    )


def _gemm(p: Translator, node: ir.Node) -> Any:
    """alpha·x·B + beta·C, with constants for B and C: a linear layer."""
    said, half = attributes(node), p.half(node)
    if said.get("transA", 0) or len(p.shape(node.inputs[0])) != 2:
        raise refusal(node, "transA")
    weight = p.array(node.inputs[1]).astype(np.float32)
    weight = np.float32(said.get("alpha", 1.0)) * (weight if said.get("transB", 0) else weight.T)
    bias = np.zeros(len(weight), np.float32)
    if len(node.inputs) > 2 and node.inputs[2]:
        added = p.array(node.inputs[2]).astype(np.float32)
        if added.size not in (1, len(weight)) or added.shape[-1:] not in ((), (1,), (len(weight),)):
            raise refusal(node, f"a C of shape {list(added.shape)}")
        bias = bias + np.float32(said.get("beta", 1.0)) * added.reshape(-1)
    return p.mb.linear(
        x=p.tensor(node.inputs[0], half),
        weight=p.constants.floats(np.ascontiguousarray(weight), half, p.name(node, "_weight")),
        bias=p.constants.floats(bias, half, p.name(node, "_bias")),
        name=p.name(node),
    )


def _batch_norm(p: Translator, node: ir.Node) -> Any:
    """A factor and an offset a channel: its own constants, a variance of 1e-6 among them, need not fit fp16."""
    said, half = attributes(node), p.half(node)
    if said.get("training_mode", 0):
        raise refusal(node, "training_mode")
    scale, shift, mean, variance = (p.array(name).astype(np.float64) for name in node.inputs[1:5])
    scale = scale / np.sqrt(variance + said.get("epsilon", 1e-5))
    shape = (1, -1, *[1] * (len(p.shape(node.inputs[0])) - 2))
    factor, offset = (value.reshape(shape) for value in (scale, shift - mean * scale))
    x = p.mb.mul(
        x=p.tensor(node.inputs[0], half),
        y=p.constants.floats(factor, half, p.name(node, "_factor")),
        name=p.name(node, "_scaled"),
    )
    return p.mb.add(x=x, y=p.constants.floats(offset, half, p.name(node, "_offset")), name=p.name(node))


def _global_mean(p: Translator, node: ir.Node) -> Any:
    axes = p.integers(*range(2, len(p.shape(node.inputs[0]))))
    x = p.tensor(node.inputs[0], p.half(node))
    return p.mb.reduce_mean(x=x, axes=axes, keep_dims=p.number(True), name=p.name(node))


def _pool(kind: str) -> Entry:
    def entry(p: Translator, node: ir.Node) -> Any:
        said = attributes(node)
        kernel = said["kernel_shape"]
        if said.get("ceil_mode", 0) or any(size != 1 for size in said.get("dilations", ())) or said.get("storage_order", 0):
            raise refusal(node, "ceil_mode, dilations or storage_order")
        counted = {} if kind == "max_pool" else {"exclude_padding_from_average": p.number(not said.get("count_include_pad", 0))}
        return getattr(p.mb, kind)(
            x=p.tensor(node.inputs[0], p.half(node)),
            kernel_sizes=p.integers(*kernel),
            strides=p.integers(*said.get("strides", [1] * len(kernel))),
            pad_type=p.text("custom"),
            pad=p.integers(*padding(node, len(kernel))),
            ceil_mode=p.number(False),
            **counted,
            name=p.name(node),
        )

    return entry


def _clip(p: Translator, node: ir.Node) -> Any:
    """Bounds that are left away are the type's own."""
    half = p.half(node)
    end = np.finfo(np.float16 if half else np.float32).max
    given = [p.array(name).astype(np.float32) if name else None for name in node.inputs[1:]] + [None, None]
    low, high = (np.clip(value if value is not None else bound, -end, end) for value, bound in zip(given, (-end, end)))  # noqa: B905
    return p.mb.clip(
        x=p.tensor(node.inputs[0], half),
        alpha=p.constants.floats(np.float32(low), half, p.name(node, "_low")),
        beta=p.constants.floats(np.float32(high), half, p.name(node, "_high")),
        name=p.name(node),
    )


def _leaky_relu(p: Translator, node: ir.Node) -> Any:
    half = p.half(node)
    alpha = p.constants.floats(np.float32(attributes(node).get("alpha", 0.01)), half, p.name(node, "_alpha"))
    return p.mb.leaky_relu(x=p.tensor(node.inputs[0], half), alpha=alpha, name=p.name(node))


def _reshaped(p: Translator, node: ir.Node) -> Any:
    """Flatten, Squeeze, Unsqueeze: to the shape that the result is known to have."""
    shape = p.integers(*p.shape(node.outputs[0]))
    return p.mb.reshape(x=p.tensor(node.inputs[0], p.half(node)), shape=shape, name=p.name(node))


TABLE: dict[str, Entry] = {
    "Abs": unary("abs"),
    "ArgMax": _argmax,
    "AveragePool": _pool("avg_pool"),
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "ConvTranspose": _conv_transpose,
    "Exp": unary("exp"),
    "Flatten": _reshaped,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_mean,
    "LeakyRelu": _leaky_relu,
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
    "Squeeze": _reshaped,
    "Tanh": unary("tanh"),
    "Unsqueeze": _reshaped,
}
_REDUCED = "keepdims noop_with_empty_axes"
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
    **dict.fromkeys(("ReduceL2", "ReduceMax", "ReduceMin", "ReduceSum"), _REDUCED),
    "Resize": "antialias axes coordinate_transformation_mode cubic_coeff_a exclude_outside extrapolation_value "
    "keep_aspect_ratio_policy mode nearest_mode",
}
