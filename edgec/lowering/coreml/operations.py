"""The table: one function for each of the hub graph's operations, ONNX opset 18 to MIL of iOS 18.

Sources: onnx/docs/Operators.md; coremltools, converters/mil/mil/ops/defs (github.com/apple/coremltools).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from edgec.errors import ExportError
from edgec.lowering.coreml.attention import attention
from edgec.lowering.coreml.patterns import Match
from edgec.lowering.coreml.types import PIXEL_SCALE, mil_name, norm_scale
from edgec.precision.plan import QuantisedWeight

if TYPE_CHECKING:
    from edgec.lowering.coreml.program import Translator

Entry = Callable[["Translator", onnx.NodeProto], Any]
SMALLEST = float(np.finfo(np.float16).smallest_subnormal)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def _binary(kind: str) -> Entry:
    def entry(p: Translator, node: onnx.NodeProto) -> Any:
        x, y = (p.tensor(name, p.half(node)) for name in node.input)
        return getattr(p.mb, kind)(x=x, y=y, name=p.name(node.name))

    return entry


def _unary(kind: str) -> Entry:
    def entry(p: Translator, node: onnx.NodeProto) -> Any:
        return getattr(p.mb, kind)(x=p.tensor(node.input[0], p.half(node)), name=p.name(node.name))

    return entry


def _neg(p: Translator, node: onnx.NodeProto) -> Any:
    half = p.half(node)
    minus = p.constants.floats(np.float32(-1), half, "minus_one" if half else "minus_one_fp32")
    return p.mb.mul(x=p.tensor(node.input[0], half), y=minus, name=p.name(node.name))


def _conv(p: Translator, node: onnx.NodeProto) -> Any:
    attributes, half = _attributes(node), p.half(node)
    x = p.tensor(node.input[0], half)
    if node.name == p.embedding and half:
        pixels = p.constants.floats(np.float32(PIXEL_SCALE), half, "pixel_scale")
        x = p.mb.mul(x=x, y=pixels, name=p.name(node.name, "_pixels"))
        weight = p.constants.floats(p.array(node.input[1]) / np.float32(PIXEL_SCALE), half, p.name(node.name, "_weight"))
    else:
        weight = p.weight(node.name, node.input[1], half)
    rank = len(attributes["kernel_shape"])
    pads = attributes.get("pads", [0] * 2 * rank)
    return p.mb.conv(
        x=x,
        weight=weight,
        **({"bias": p.tensor(node.input[2], half)} if len(node.input) > 2 else {}),
        strides=p.integers(*attributes.get("strides", [1] * rank)),
        # ONNX has all that is before, then all that is behind; MIL has them by axis.
        pad=p.integers(*(pads[axis + side] for axis in range(rank) for side in (0, rank))),
        pad_type=p.text("custom"),
        dilations=p.integers(*attributes.get("dilations", [1] * rank)),
        groups=p.number(int(attributes.get("group", 1))),
        name=p.name(node.name),
    )


def _matmul(p: Translator, node: onnx.NodeProto) -> Any:
    half = p.half(node)
    if node.input[1] not in p.values:
        return _product(p, node.name, node.name, node.input[0], node.input[1], None, half)
    x, y = (p.tensor(name, half) for name in node.input)
    no = p.number(False)
    return p.mb.matmul(x=x, y=y, transpose_x=no, transpose_y=no, name=p.name(node.name))


def _product(p: Translator, product: str, name: str, x: str, weight: str, bias: str | None, half: bool) -> Any:
    stored = p.weight(product, weight, half, transposed=True)
    nothing = np.zeros(stored.shape[0], np.float32)
    added = p.tensor(bias, half) if bias else p.constants.floats(nothing, half, p.name(product, "_no_bias"))
    return p.mb.linear(x=p.tensor(x, half), weight=stored, bias=added, name=p.name(name))


def _linear(p: Translator, node: onnx.NodeProto, match: Match) -> Any:
    x, weight, bias = match.reads
    product = match.absorbed[0]
    # What is said of a product in the plan is said under its own name, not under its bias's.
    half = p.half(node) and p.plan.precision_of(product) != "fp32"
    return _product(p, product, node.name, x, weight, bias, half)


def _layer_norm(p: Translator, node: onnx.NodeProto) -> Any:
    attributes, half = _attributes(node), p.half(node)
    if attributes.get("axis", -1) not in (-1, len(p.shape(node.output[0])) - 1):
        raise ExportError(f"{node.name} normalises over several axes.", evidence="Core ML's lowering takes the last one alone")
    x, epsilon, kind = p.tensor(node.input[0], half), np.float32(attributes["epsilon"]), np.float16 if half else np.float32
    if half:
        factor = norm_scale(p.plan.ranges.get(node.input[0]), float(epsilon))
        if factor != 1:
            scale = p.constants.floats(np.float32(factor), half, mil_name(f"norm_scale_{factor:g}"))
            x = p.mb.mul(x=x, y=scale, name=p.name(node.name, "_scaled"))
        # Zero would divide a token of equal values by zero.
        epsilon = np.float32(max(float(epsilon) * factor**2, SMALLEST))
    return p.mb.layer_norm(
        x=x,
        axes=p.integers(-1),
        gamma=p.tensor(node.input[1], half),
        **({"beta": p.tensor(node.input[2], half)} if len(node.input) > 2 else {}),
        epsilon=p.constants.floats(epsilon, half, mil_name(f"epsilon_{kind.__name__}_{kind(epsilon)}")),
        name=p.name(node.name),
    )


def _softmax(p: Translator, node: onnx.NodeProto) -> Any:
    axis = p.number(int(_attributes(node).get("axis", -1)))
    return p.mb.softmax(x=p.tensor(node.input[0], p.half(node)), axis=axis, name=p.name(node.name))


def _gelu(p: Translator, node: onnx.NodeProto, match: Match) -> Any:
    return p.mb.gelu(x=p.tensor(match.reads[0], p.half(node)), mode=p.text("EXACT"), name=p.name(node.name))


def _silu(p: Translator, node: onnx.NodeProto, match: Match) -> Any:
    return p.mb.silu(x=p.tensor(match.reads[0], p.half(node)), name=p.name(node.name))


def _reduce_mean(p: Translator, node: onnx.NodeProto) -> Any:
    return p.mb.reduce_mean(
        x=p.tensor(node.input[0], p.half(node)),
        axes=p.integers(*p.array(node.input[1]).tolist()),
        keep_dims=p.number(bool(_attributes(node).get("keepdims", 1))),
        name=p.name(node.name),
    )


def _reshape(p: Translator, node: onnx.NodeProto) -> Any:
    shape = p.integers(*p.shape(node.output[0]))
    return p.mb.reshape(x=p.tensor(node.input[0], p.half(node)), shape=shape, name=p.name(node.name))


def _transpose(p: Translator, node: onnx.NodeProto) -> Any:
    perm = p.integers(*_attributes(node)["perm"])
    return p.mb.transpose(x=p.tensor(node.input[0], p.half(node)), perm=perm, name=p.name(node.name))


def _concat(p: Translator, node: onnx.NodeProto) -> Any:
    half = p.half(node)
    return p.mb.concat(
        values=[p.tensor(name, half) for name in node.input],
        axis=p.number(int(_attributes(node)["axis"])),
        interleave=p.number(False),
        name=p.name(node.name),
    )


def _slice(p: Translator, node: onnx.NodeProto) -> Any:
    starts, ends, axes = (p.array(name).tolist() for name in node.input[1:4])
    steps = p.array(node.input[4]).tolist() if len(node.input) > 4 else [1] * len(starts)
    x = p.tensor(node.input[0], p.half(node))
    if set(steps) != {1}:
        raise ExportError(f"{node.name} skips elements.", evidence=f"steps {steps}; Core ML's lowering takes whole ranges")
    begin, end = [0] * len(x.shape), list(x.shape)
    for start, stop, axis in zip(starts, ends, axes, strict=True):
        begin[axis], end[axis], _ = slice(start, stop).indices(x.shape[axis])
    return p.mb.slice_by_index(x=x, begin=p.integers(*begin), end=p.integers(*end), name=p.name(node.name))


def _gather(p: Translator, node: onnx.NodeProto) -> Any:
    """One element of an axis, whose dimension goes: that is all that hub graphs gather."""
    index, axis = p.array(node.input[1]), int(_attributes(node).get("axis", 0))
    if index.ndim:
        raise ExportError(f"{node.name} gathers {index.size} elements.", evidence="Core ML's lowering takes one")
    x = p.tensor(node.input[0], p.half(node))
    begin, end = [0] * len(x.shape), list(x.shape)
    begin[axis] = int(index) % x.shape[axis]
    end[axis] = begin[axis] + 1
    squeezed = np.array([each == axis % len(x.shape) for each in range(len(x.shape))])
    mask = p.constants.shared(squeezed, f"squeeze_{axis}_of_{len(x.shape)}")
    return p.mb.slice_by_index(x=x, begin=p.integers(*begin), end=p.integers(*end), squeeze_mask=mask, name=p.name(node.name))


def _quantise(p: Translator, node: onnx.NodeProto) -> Any:
    half = p.half(node)
    zero = p.array(node.input[2])
    return p.mb.quantize(
        input=p.tensor(node.input[0], half),
        scale=p.constants.floats(p.array(node.input[1]), half, p.name(node.name, "_scale")),
        output_dtype=p.text(str(zero.dtype)),
        **({"zero_point": p.constants.shared(zero, p.name(node.name, "_zero_point"))} if zero.any() else {}),
        name=p.name(node.name),
    )


def _dequantise(p: Translator, node: onnx.NodeProto) -> Any:
    scale, zero = p.array(node.input[1]), p.array(node.input[2])
    if p.is_constant(node.input[0]):
        p.hold(node.output[0], QuantisedWeight(p.array(node.input[0]), scale))
        return None
    half = p.half(node)
    return p.mb.dequantize(
        input=p.values[node.input[0]],
        scale=p.constants.floats(scale, half, p.name(node.name, "_scale")),
        **({"zero_point": p.constants.shared(zero, p.name(node.name, "_zero_point"))} if zero.any() else {}),
        name=p.name(node.name),
    )


TABLE: dict[str, Entry] = {
    "Add": _binary("add"),
    "Concat": _concat,
    "Conv": _conv,
    "DequantizeLinear": _dequantise,
    "Div": _binary("real_div"),
    "Erf": _unary("erf"),
    "Gather": _gather,
    "Identity": _unary("identity"),
    "LayerNormalization": _layer_norm,
    "MatMul": _matmul,
    "Mul": _binary("mul"),
    "Neg": _neg,
    "QuantizeLinear": _quantise,
    "ReduceMean": _reduce_mean,
    "Reshape": _reshape,
    "Sigmoid": _unary("sigmoid"),
    "Slice": _slice,
    "Softmax": _softmax,
    "Sub": _binary("sub"),
    "Transpose": _transpose,
}
"""What the family's hub graphs are made of, and what plans put into them. `Cast` is not here: the only one is that of the frames,
which Core ML does itself."""

PATTERNS: dict[str, Callable[[Translator, onnx.NodeProto, Match], Any]] = {
    "attention": attention,
    "gelu": _gelu,
    "linear": _linear,
    "silu": _silu,
}

ATTRIBUTES = {
    "Concat": "axis",
    "Conv": "auto_pad dilations group kernel_shape pads strides",
    "DequantizeLinear": "axis",
    "Gather": "axis",
    "LayerNormalization": "axis epsilon stash_type",
    "QuantizeLinear": "axis saturate",
    "ReduceMean": "keepdims noop_with_empty_axes",
    "Reshape": "allowzero",
    "Softmax": "axis",
    "Transpose": "perm",
}
"""What an entry above reads of a node, or may leave unread: dimensions are static here, and `Reshape`'s is its result's."""


def translate(p: Translator, node: onnx.NodeProto) -> Any:
    """One node by its entry in the table. Raises `ExportError` naming the node and what of it has no translation."""
    if node.op_type not in TABLE or node.domain not in ("", "ai.onnx"):
        raise ExportError(
            f"Core ML's lowering has no translation of {'.'.join(filter(None, (node.domain, node.op_type)))}.",
            evidence=f"the node {node.name}; translated are: {', '.join(sorted(TABLE))}",
            remedy="report this with the checkpoint's form: no DINOv3 backbone needs it",
        )
    unknown = sorted({attribute.name for attribute in node.attribute} - set(ATTRIBUTES.get(node.op_type, "").split()))
    if _attributes(node).get("auto_pad", b"NOTSET") != b"NOTSET":
        unknown.append("auto_pad")
    if unknown:
        raise ExportError(
            f"Core ML's lowering has no translation of {node.op_type} with {', '.join(unknown)}.",
            evidence=f"the node {node.name}",
            remedy="report this with the checkpoint's form: no DINOv3 backbone needs it",
        )
    return TABLE[node.op_type](p, node)
