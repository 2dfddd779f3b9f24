"""Arithmetic, comparison and activation that only heads bring, element by element or along an axis.

Sources: onnx/docs/Operators.md, opset 18; coremltools, converters/mil/mil/ops/defs (github.com/apple/coremltools).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from edgec.lowering.coreml.entries import Entry, argument, attributes, reduced_axes, reduction, refusal, unary

if TYPE_CHECKING:
    from edgec.lowering.coreml.program import Translator

SELU = (1.67326319217681884765625, 1.05070102214813232421875)
"""ONNX's alpha and gamma."""


def _compared(kind: str) -> Entry:
    def entry(p: Translator, node: ir.Node) -> Any:
        x, y = (p.operand(value, p.half(node)) for value in node.inputs)
        if p.is_float(x) != p.is_float(y):
            raise refusal(node, "numbers of two kinds")
        return getattr(p.mb, kind)(x=x, y=y, name=p.name(node))

    return entry


def _logical(kind: str) -> Entry:
    def entry(p: Translator, node: ir.Node) -> Any:
        named = dict(zip("xy", (p.operand(value, False) for value in node.inputs), strict=False))
        return getattr(p.mb, kind)(**named, name=p.name(node))

    return entry


def _where(p: Translator, node: ir.Node) -> Any:
    condition, a, b = (p.operand(value, p.half(node)) for value in node.inputs)
    if a.dtype != b.dtype:
        raise refusal(node, "choices of two types")
    return p.mb.select(cond=condition, a=a, b=b, name=p.name(node))


def _reciprocal(p: Translator, node: ir.Node) -> Any:
    """As 1 / x: MIL's own operation adds an epsilon."""
    return p.mb.real_div(x=p.scalar(node, 1, "one"), y=p.first(node), name=p.name(node))


def _celu(p: Translator, node: ir.Node) -> Any:
    """alpha · elu(x / alpha)"""
    alpha = p.scalar(node, attributes(node).get("alpha", 1.0), "alpha")
    x = p.mb.real_div(x=p.first(node), y=alpha, name=p.name(node, "_divided"))
    bent = p.mb.elu(x=x, alpha=p.scalar(node, 1, "one"), name=p.name(node, "_elu"))
    return p.mb.mul(x=bent, y=alpha, name=p.name(node))


def _selu(p: Translator, node: ir.Node) -> Any:
    options = attributes(node)
    alpha, gamma = (p.scalar(node, options.get(name, value), name) for name, value in zip(("alpha", "gamma"), SELU, strict=True))
    bent = p.mb.elu(x=p.first(node), alpha=alpha, name=p.name(node, "_elu"))
    return p.mb.mul(x=bent, y=gamma, name=p.name(node))


def _prelu(p: Translator, node: ir.Node) -> Any:
    """max(x, 0) + slope · min(x, 0): MIL's own operation wants one slope a channel."""
    x, slope = (p.tensor(value, p.half(node)) for value in node.inputs)
    low = p.mb.minimum(x=x, y=p.scalar(node, 0, "zero"), name=p.name(node, "_low"))
    bent = p.mb.mul(x=low, y=slope, name=p.name(node, "_bent"))
    return p.mb.add(x=p.mb.relu(x=x, name=p.name(node, "_relu")), y=bent, name=p.name(node))


def _hard_swish(p: Translator, node: ir.Node) -> Any:
    x = p.first(node)
    alpha, beta = p.scalar(node, 1 / 6, "alpha"), p.scalar(node, 0.5, "beta")
    gate = p.mb.sigmoid_hard(x=x, alpha=alpha, beta=beta, name=p.name(node, "_gate"))
    return p.mb.mul(x=x, y=gate, name=p.name(node))


def _mish(p: Translator, node: ir.Node) -> Any:
    """x · tanh(softplus(x))"""
    x = p.first(node)
    soft = p.mb.softplus(x=x, name=p.name(node, "_softplus"))
    return p.mb.mul(x=x, y=p.mb.tanh(x=soft, name=p.name(node, "_tanh")), name=p.name(node))


def _log_softmax(p: Translator, node: ir.Node) -> Any:
    axis = int(attributes(node).get("axis", -1))
    low, total = _log_sum(p, node, [axis])
    return p.mb.sub(x=low, y=total, name=p.name(node))


def _log_sum_exp(p: Translator, node: ir.Node) -> Any:
    """In pieces: MIL's own operation does not subtract the largest value first (apple/coremltools#2690)."""
    axes = reduced_axes(p, node)
    low, total = _log_sum(p, node, axes)
    largest = p.mb.sub(x=p.first(node), y=low, name=p.name(node, "_back"))
    # The largest value is the same along the axes: reducing it by its maximum leaves it as it is.
    largest = p.mb.reduce_max(x=largest, axes=p.integers(*axes), keep_dims=p.number(True), name=p.name(node, "_largest"))
    result = p.mb.add(x=largest, y=total, name=p.name(node, "_kept"))
    return p.mb.reshape(x=result, shape=p.integers(*p.shape(node.outputs[0])), name=p.name(node))


def _log_sum(p: Translator, node: ir.Node, axes: list[int]) -> tuple[Any, Any]:
    """x minus its largest value, and the logarithm of the sum of the exponentials of that difference, dimensions kept."""
    x, over, yes = p.first(node), p.integers(*axes), p.number(True)
    largest = p.mb.reduce_max(x=x, axes=over, keep_dims=yes, name=p.name(node, "_max"))
    low = p.mb.sub(x=x, y=largest, name=p.name(node, "_low"))
    raised = p.mb.exp(x=low, name=p.name(node, "_exp"))
    total = p.mb.reduce_sum(x=raised, axes=over, keep_dims=yes, name=p.name(node, "_sum"))
    return low, p.mb.log(x=total, epsilon=p.scalar(node, 0, "epsilon"), name=p.name(node, "_log"))


def _cumsum(p: Translator, node: ir.Node) -> Any:
    options, rank = attributes(node), len(p.shape(node.outputs[0]))
    return p.mb.cumsum(
        x=p.first(node),
        axis=p.number(int(p.array(node.inputs[1]).item()) % rank),
        exclusive=p.number(bool(options.get("exclusive", 0))),
        reverse=p.number(bool(options.get("reverse", 0))),
        name=p.name(node),
    )


def _instance_norm(p: Translator, node: ir.Node) -> Any:
    """In float32 and in pieces: it sums the squares of a whole map."""
    x, rank = p.tensor(node.inputs[0], False), len(p.shape(node.outputs[0]))
    over, yes = p.integers(*range(2, rank)), p.number(True)

    def made(kind: str, what: str, **named: Any) -> Any:
        return getattr(p.mb, kind)(**named, name=p.name(node, f"_{what}" if what else ""))

    def channels(value: ir.Value | None, what: str) -> Any:
        return p.constants.floats(p.array(value).reshape(1, -1, *[1] * (rank - 2)), False, p.name(node, f"_{what}"))

    mean = made("reduce_mean", "mean", x=x, axes=over, keep_dims=yes)
    centred = made("sub", "centred", x=x, y=mean)
    squares = made("mul", "squares", x=centred, y=centred)
    variance = made("reduce_mean", "variance", x=squares, axes=over, keep_dims=yes)
    epsilon = p.constants.floats(np.float32(attributes(node).get("epsilon", 1e-5)), False, p.name(node, "_epsilon"))
    spread = made("sqrt", "spread", x=made("add", "above_zero", x=variance, y=epsilon))
    normed = made("real_div", "normed", x=centred, y=spread)
    scaled = made("mul", "scaled", x=normed, y=channels(node.inputs[1], "scale"))
    return made("add", "", x=scaled, y=channels(node.inputs[2], "shift"))


TABLE: dict[str, Entry] = {
    **{kind: unary(kind.lower()) for kind in ("Atan", "Ceil", "Cos", "Floor", "Round", "Sign", "Sin", "Softplus", "Softsign")},
    "And": _logical("logical_and"),
    "ArgMin": argument("reduce_argmin"),
    "Celu": _celu,
    "CumSum": _cumsum,
    "Elu": unary("elu", alpha=1.0),
    "Equal": _compared("equal"),
    "Greater": _compared("greater"),
    "GreaterOrEqual": _compared("greater_equal"),
    "HardSigmoid": unary("sigmoid_hard", alpha=0.2, beta=0.5),
    "HardSwish": _hard_swish,
    "InstanceNormalization": _instance_norm,
    "Less": _compared("less"),
    "LessOrEqual": _compared("less_equal"),
    "Log": unary("log", epsilon=0.0),
    "LogSoftmax": _log_softmax,
    "Mish": _mish,
    "Not": _logical("logical_not"),
    "Or": _logical("logical_or"),
    "PRelu": _prelu,
    "Reciprocal": _reciprocal,
    "ReduceL1": reduction("reduce_l1_norm"),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceProd": reduction("reduce_prod"),
    "ReduceSumSquare": reduction("reduce_sum_square"),
    "Selu": _selu,
    "Where": _where,
    "Xor": _logical("logical_xor"),
}
ATTRIBUTES = {
    "ArgMin": "axis keepdims select_last_index",
    "Celu": "alpha",
    "CumSum": "exclusive reverse",
    "Elu": "alpha",
    "HardSigmoid": "alpha beta",
    "InstanceNormalization": "epsilon",
    "LogSoftmax": "axis",
    **dict.fromkeys(("ReduceL1", "ReduceLogSumExp", "ReduceProd", "ReduceSumSquare"), "keepdims noop_with_empty_axes"),
    "Selu": "alpha gamma",
}
INTEGERS = ("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Where", "Xor")
"""Operations that may read integers or booleans."""
