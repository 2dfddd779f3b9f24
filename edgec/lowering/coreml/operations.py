"""The table: one function for each of the hub graph's operations, ONNX opset 18 to MIL of iOS 18.

Sources: onnx/docs/Operators.md; coremltools, converters/mil/mil/ops/defs (github.com/apple/coremltools).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from edgec.errors import EdgecError, UnsupportedOperation
from edgec.graph.plan import QuantisedWeight
from edgec.graph.values import input_of, name_of
from edgec.lowering.coreml import head_activations, head_operations, head_shapes
from edgec.lowering.coreml.attention import attention, rotation
from edgec.lowering.coreml.entries import (
    Entry,
    attributes,
    binary,
    convolution,
    padding,
    reduction,
    refusal,
    remedy,
    reshape,
    unary,
)
from edgec.lowering.coreml.patterns import Match
from edgec.lowering.coreml.types import MOVES, PIXEL_SCALE, mil_name, norm_scale

if TYPE_CHECKING:
    from edgec.lowering.coreml.program import Translator

SMALLEST = float(np.finfo(np.float16).smallest_subnormal)


def _neg(p: Translator, node: ir.Node) -> Any:
    half = p.half(node)
    minus = p.constants.floats(np.float32(-1), half, "MinusOne" if half else "MinusOne_fp32")
    return p.mb.mul(x=p.tensor(node.inputs[0], half), y=minus, name=p.name(node))


def _conv(p: Translator, node: ir.Node) -> Any:
    half, x = p.half(node), p.first(node)
    if node is p.embedding and half:
        pixels = p.constants.floats(np.float32(PIXEL_SCALE), half, "PixelScale")
        x = p.mb.mul(x=x, y=pixels, name=p.name(node, "_pixels"))
        weight = p.constants.floats(p.array(node.inputs[1]) / np.float32(PIXEL_SCALE), half, p.name(node, "_weight"))
    else:
        weight = p.weight(node, node.inputs[1], half)
    return convolution(p, node, "conv", x, weight, padding(node, len(weight.shape) - 2))


def _matmul(p: Translator, node: ir.Node) -> Any:
    half = p.half(node)
    if p.is_weight(node.inputs[1]):
        return _product(p, node, node, node.inputs[0], node.inputs[1], None, half)
    x, y = (p.tensor(value, half) for value in node.inputs)
    no = p.number(False)
    return p.mb.matmul(x=x, y=y, transpose_x=no, transpose_y=no, name=p.name(node))


def _product(
    p: Translator, product: ir.Node, last: ir.Node, x: ir.Value | None, weight: ir.Value | None, bias: ir.Value | None, half: bool
) -> Any:
    stored = p.weight(product, weight, half, transposed=True)
    nothing = np.zeros(stored.shape[0], np.float32)
    added = p.tensor(bias, half) if bias else p.constants.floats(nothing, half, p.name(product, "_no_bias"))
    return p.mb.linear(x=p.tensor(x, half), weight=stored, bias=added, name=p.name(last))


def _linear(p: Translator, node: ir.Node, match: Match) -> Any:
    x, weight, bias = match.reads
    product = match.absorbed[0]
    # The plan names the product, not the addition of its bias.
    half = p.half(node) and p.plan.precision_of(name_of(product)) != "fp32"
    return _product(p, product, node, x, weight, bias, half)


def _layer_norm(p: Translator, node: ir.Node) -> Any:
    options, half = attributes(node), p.half(node)
    rank = len(p.shape(node.outputs[0]))
    first = int(options.get("axis", -1)) % rank
    x, epsilon = p.first(node), np.float32(options.get("epsilon", 1e-5))
    kind = np.float16 if half else np.float32
    if half:
        factor = norm_scale(p.plan.ranges.get(name_of(input_of(node))), float(epsilon))
        if factor != 1:
            scale = p.constants.floats(np.float32(factor), half, mil_name(f"NormScale_{factor:g}"))
            x = p.mb.mul(x=x, y=scale, name=p.name(node, "_scaled"))
        # Zero would divide a token of equal values by zero.
        epsilon = np.float32(max(float(epsilon) * factor**2, SMALLEST))
    return p.mb.layer_norm(
        x=x,
        axes=p.integers(*([-1] if first == rank - 1 else range(first, rank))),
        gamma=p.tensor(node.inputs[1], half),
        **({"beta": p.tensor(node.inputs[2], half)} if len(node.inputs) > 2 else {}),
        epsilon=p.constants.floats(epsilon, half, mil_name(f"Epsilon_{kind.__name__}_{kind(epsilon)}")),
        name=p.name(node),
    )


def _softmax(p: Translator, node: ir.Node) -> Any:
    axis = p.number(int(attributes(node).get("axis", -1)))
    return p.mb.softmax(x=p.first(node), axis=axis, name=p.name(node))


def _gelu(p: Translator, node: ir.Node, match: Match) -> Any:
    return p.mb.gelu(x=p.tensor(match.reads[0], p.half(node)), mode=p.text("EXACT"), name=p.name(node))


def _silu(p: Translator, node: ir.Node, match: Match) -> Any:
    return p.mb.silu(x=p.tensor(match.reads[0], p.half(node)), name=p.name(node))


def _transpose(p: Translator, node: ir.Node) -> Any:
    perm = p.integers(*attributes(node).get("perm", reversed(range(len(p.shape(node.inputs[0]))))))
    return p.mb.transpose(x=p.first(node), perm=perm, name=p.name(node))


def _concat(p: Translator, node: ir.Node) -> Any:
    half = p.half(node)
    return p.mb.concat(
        values=[p.tensor(value, half) for value in node.inputs],
        axis=p.number(int(attributes(node)["axis"])),
        interleave=p.number(False),
        name=p.name(node),
    )


def _slice(p: Translator, node: ir.Node) -> Any:
    starts, ends, axes = (p.array(name).tolist() for name in node.inputs[1:4])
    steps = p.array(node.inputs[4]).tolist() if len(node.inputs) > 4 else [1] * len(starts)
    x = p.first(node)
    begin, end, stride = [0] * len(x.shape), list(x.shape), [1] * len(x.shape)
    for start, stop, axis, step in zip(starts, ends, axes, steps, strict=True):
        begin[axis], end[axis], stride[axis] = slice(start, stop, step).indices(x.shape[axis])
    if min(stride) < 0:
        turned = [axis for axis, step in enumerate(stride) if step < 0]
        if any((begin[axis], end[axis], stride[axis]) != (x.shape[axis] - 1, -1, -1) for axis in turned):
            raise refusal(node, f"steps {steps} of a part")
        x = p.mb.reverse(x=x, axes=p.integers(*turned), name=p.name(node, "_turned"))
        for axis in turned:
            begin[axis], end[axis], stride[axis] = 0, x.shape[axis], 1
    skipping = {"stride": p.integers(*stride)} if set(stride) != {1} else {}
    return p.mb.slice_by_index(x=x, begin=p.integers(*begin), end=p.integers(*end), **skipping, name=p.name(node))


def _gather(p: Translator, node: ir.Node) -> Any:
    """One element of an axis, whose dimension is then dropped, or a list of elements."""
    axis = int(attributes(node).get("axis", 0))
    x = p.operand(node.inputs[0], p.half(node))
    index = p.array(node.inputs[1]) if p.is_constant(node.inputs[1]) else None
    if index is None or index.ndim > 1:
        indices = head_shapes.gathered_indices(p, node, x.shape[axis])
        return p.mb.gather(x=x, indices=indices, axis=p.number(axis), validate_indices=p.number(False), name=p.name(node))
    if index.ndim:
        indices = p.integers(*(index % x.shape[axis]).tolist())
        return p.mb.gather(x=x, indices=indices, axis=p.number(axis), name=p.name(node))
    begin, end = [0] * len(x.shape), list(x.shape)
    begin[axis] = int(index) % x.shape[axis]
    end[axis] = begin[axis] + 1
    squeezed = np.array([each == axis % len(x.shape) for each in range(len(x.shape))])
    mask = p.constants.shared(squeezed, f"Squeeze_{str(axis).replace('-', 'm')}_of_{len(x.shape)}")
    return p.mb.slice_by_index(x=x, begin=p.integers(*begin), end=p.integers(*end), squeeze_mask=mask, name=p.name(node))


def _quantise(p: Translator, node: ir.Node) -> Any:
    half = p.half(node)
    zero = p.array(node.inputs[2])
    return p.mb.quantize(
        input=p.first(node),
        scale=p.constants.floats(p.array(node.inputs[1]), half, p.name(node, "_scale")),
        output_dtype=p.text(str(zero.dtype)),
        **({"zero_point": p.constants.shared(zero, p.name(node, "_zero_point"))} if zero.any() else {}),
        name=p.name(node),
    )


def _dequantise(p: Translator, node: ir.Node) -> Any:
    scale, zero = p.array(node.inputs[1]), p.array(node.inputs[2])
    if p.is_constant(node.inputs[0]):
        p.hold(node.outputs[0], QuantisedWeight(p.array(node.inputs[0]), scale))
        return None
    half = p.half(node)
    return p.mb.dequantize(
        input=p.made(node.inputs[0]),
        scale=p.constants.floats(scale, half, p.name(node, "_scale")),
        **({"zero_point": p.constants.shared(zero, p.name(node, "_zero_point"))} if zero.any() else {}),
        name=p.name(node),
    )


TABLE: dict[str, Entry] = {
    "Add": binary("add"),
    "Concat": _concat,
    "Conv": _conv,
    "DequantizeLinear": _dequantise,
    "Div": binary("real_div"),
    "Erf": unary("erf"),
    "Gather": _gather,
    "Identity": unary("identity"),
    "LayerNormalization": _layer_norm,
    "MatMul": _matmul,
    "Mul": binary("mul"),
    "Neg": _neg,
    "QuantizeLinear": _quantise,
    "ReduceMean": reduction("reduce_mean"),
    "Reshape": reshape,
    "Sigmoid": unary("sigmoid"),
    "Slice": _slice,
    "Softmax": _softmax,
    "Sub": binary("sub"),
    "Transpose": _transpose,
}
"""The operations of the family's hub graphs, of plans, and of heads. The `Cast` of the frames is not translated: Core ML does it
itself."""
TABLE |= head_operations.TABLE | head_activations.TABLE | head_shapes.TABLE

PATTERNS: dict[str, Callable[[Translator, ir.Node, Match], Any]] = {
    "attention": attention,
    "gelu": _gelu,
    "linear": _linear,
    "rotation": rotation,
    "silu": _silu,
}

ATTRIBUTES = (
    head_operations.ATTRIBUTES
    | head_activations.ATTRIBUTES
    | head_shapes.ATTRIBUTES
    | {
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
)
"""The attributes that an entry handles, or may ignore because dimensions are static here."""
INTEGERS = (*MOVES, "Cast", "DequantizeLinear", *head_activations.INTEGERS, *head_shapes.INTEGERS)
"""Operations that may read integers."""
MOST_SIDES = 5
"""Dimensions of a tensor in Core ML, at most."""


def check(node: ir.Node) -> None:
    """Raises `UnsupportedOperation`, which names the node and the part of it that has no translation. Leaving that part out would
    make the program compute something else."""
    if node.op_type not in TABLE or node.domain not in ("", "ai.onnx"):
        raise UnsupportedOperation(
            f"Core ML's lowering has no translation of {'.'.join(filter(None, (node.domain, node.op_type)))}.",
            evidence=f"the node {node.name}; translated are: {', '.join(sorted(TABLE))}",
            remedy=remedy(node),
        )
    unknown = sorted(node.attributes.keys() - set(ATTRIBUTES.get(node.op_type, "").split()))
    if unknown:
        raise refusal(node, ", ".join(unknown))
    if any(value.name for value in node.outputs[1:]) and node.op_type not in head_shapes.SEVERAL:
        raise refusal(node, f"{len(node.outputs)} results")


def translate(p: Translator, node: ir.Node) -> Any:
    """MIL's variable for a node that `check` let pass, or a list of them, by its entry in the table. Raises
    `UnsupportedOperation` for types, shapes or constants that Core ML's operation does not take."""
    whole = [value for value in node.inputs if p.is_made(value) and not p.is_float(p.made(value))]
    if whole and node.op_type not in INTEGERS:
        raise refusal(node, f"integers ({whole[0].name if whole[0] else ''})")
    sides = max(map(p.sides, node.outputs))
    if sides > MOST_SIDES:
        raise refusal(node, f"{sides} dimensions, where Core ML has {MOST_SIDES} at most")
    try:
        return TABLE[node.op_type](p, node)
    except EdgecError:
        raise
    except Exception as error:  # coremltools' own, of types and shapes that its operation does not take
        lines = str(error).strip().splitlines()
        raise refusal(node, f"these shapes or types: {lines[0] if lines else type(error).__name__}") from error
