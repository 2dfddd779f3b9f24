"""Arithmetic, comparison and activation that only heads bring, element by element or along an axis.

Sources: onnx/docs/Operators.md, opset 18; coremltools, converters/mil/mil/ops/defs (github.com/apple/coremltools).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from edgec.lowering.coreml.entries import Entry, attributes, reduction, refusal, unary

if TYPE_CHECKING:
    from edgec.lowering.coreml.program import Translator

SELU = (1.67326319217681884765625, 1.05070102214813232421875)
"""ONNX's alpha and gamma."""


def _number(p: Translator, node: ir.Node, value: float, what: str) -> Any:
    return p.constants.floats(np.float32(value), p.half(node), p.name(node, f"_{what}"))


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
    """MIL's own adds an epsilon."""
    return p.mb.real_div(x=_number(p, node, 1, "one"), y=p.tensor(node.inputs[0], p.half(node)), name=p.name(node))


def _elu(p: Translator, node: ir.Node) -> Any:
    alpha = _number(p, node, attributes(node).get("alpha", 1.0), "alpha")
    return p.mb.elu(x=p.tensor(node.inputs[0], p.half(node)), alpha=alpha, name=p.name(node))


def _celu(p: Translator, node: ir.Node) -> Any:
    """alpha · elu(x / alpha)"""
    alpha = _number(p, node, attributes(node).get("alpha", 1.0), "alpha")
    x = p.mb.real_div(x=p.tensor(node.inputs[0], p.half(node)), y=alpha, name=p.name(node, "_divided"))
    bent = p.mb.elu(x=x, alpha=_number(p, node, 1, "one"), name=p.name(node, "_elu"))
    return p.mb.mul(x=bent, y=alpha, name=p.name(node))


def _selu(p: Translator, node: ir.Node) -> Any:
    said = attributes(node)
    alpha, gamma = (_number(p, node, said.get(name, value), name) for name, value in zip(("alpha", "gamma"), SELU, strict=True))
    bent = p.mb.elu(x=p.tensor(node.inputs[0], p.half(node)), alpha=alpha, name=p.name(node, "_elu"))
    return p.mb.mul(x=bent, y=gamma, name=p.name(node))


def _prelu(p: Translator, node: ir.Node) -> Any:
    """max(x, 0) + slope · min(x, 0): MIL's own wants one slope a channel."""
    x, slope = (p.tensor(value, p.half(node)) for value in node.inputs)
    low = p.mb.minimum(x=x, y=_number(p, node, 0, "zero"), name=p.name(node, "_low"))
    bent = p.mb.mul(x=low, y=slope, name=p.name(node, "_bent"))
    return p.mb.add(x=p.mb.relu(x=x, name=p.name(node, "_relu")), y=bent, name=p.name(node))


def _hard_sigmoid(p: Translator, node: ir.Node) -> Any:
    said = attributes(node)
    alpha, beta = _number(p, node, said.get("alpha", 0.2), "alpha"), _number(p, node, said.get("beta", 0.5), "beta")
    return p.mb.sigmoid_hard(x=p.tensor(node.inputs[0], p.half(node)), alpha=alpha, beta=beta, name=p.name(node))


def _hard_swish(p: Translator, node: ir.Node) -> Any:
    x = p.tensor(node.inputs[0], p.half(node))
    alpha, beta = _number(p, node, 1 / 6, "alpha"), _number(p, node, 0.5, "beta")
    gate = p.mb.sigmoid_hard(x=x, alpha=alpha, beta=beta, name=p.name(node, "_gate"))
    return p.mb.mul(x=x, y=gate, name=p.name(node))


def _mish(p: Translator, node: ir.Node) -> Any:
    """x · tanh(softplus(x))"""
    x = p.tensor(node.inputs[0], p.half(node))
    soft = p.mb.softplus(x=x, name=p.name(node, "_softplus"))
    return p.mb.mul(x=x, y=p.mb.tanh(x=soft, name=p.name(node, "_tanh")), name=p.name(node))


def _log_softmax(p: Translator, node: ir.Node) -> Any:
    axis = int(attributes(node).get("axis", -1))
    low, total = _log_sum(p, node, [axis])
    return p.mb.sub(x=low, y=total, name=p.name(node))


def _log_sum_exp(p: Translator, node: ir.Node) -> Any:
    """MIL's own does not subtract the largest value first (apple/coremltools#2690)."""
    said = attributes(node)
    axes = p.array(node.inputs[1]).tolist() if len(node.inputs) > 1 and node.inputs[1] else []
    if not axes and said.get("noop_with_empty_axes", 0):
        raise refusal(node, "noop_with_empty_axes")
    axes = axes or list(range(len(p.shape(node.inputs[0]))))
    low, total = _log_sum(p, node, axes)
    largest = p.mb.sub(x=p.tensor(node.inputs[0], p.half(node)), y=low, name=p.name(node, "_back"))
    # It is the same along the axes; the mean of equal values is their value.
    largest = p.mb.reduce_max(x=largest, axes=p.integers(*axes), keep_dims=p.number(True), name=p.name(node, "_largest"))
    kept = p.mb.add(x=largest, y=total, name=p.name(node, "_kept"))
    return p.mb.reshape(x=kept, shape=p.integers(*p.shape(node.outputs[0])), name=p.name(node))


def _log_sum(p: Translator, node: ir.Node, axes: list[int]) -> tuple[Any, Any]:
    """x less its largest value, and the logarithm of the sum of that one's exponentials, dimensions kept."""
    x, over, kept = p.tensor(node.inputs[0], p.half(node)), p.integers(*axes), p.number(True)
    largest = p.mb.reduce_max(x=x, axes=over, keep_dims=kept, name=p.name(node, "_max"))
    low = p.mb.sub(x=x, y=largest, name=p.name(node, "_low"))
    raised = p.mb.exp(x=low, name=p.name(node, "_exp"))
    total = p.mb.reduce_sum(x=raised, axes=over, keep_dims=kept, name=p.name(node, "_sum"))
    return low, p.mb.log(x=total, epsilon=_number(p, node, 0, "epsilon"), name=p.name(node, "_log"))


def _log(p: Translator, node: ir.Node) -> Any:
    return p.mb.log(x=p.tensor(node.inputs[0], p.half(node)), epsilon=_number(p, node, 0, "epsilon"), name=p.name(node))


def _argmin(p: Translator, node: ir.Node) -> Any:
    said = attributes(node)
    if said.get("select_last_index", 0):
        raise refusal(node, "select_last_index")
    axis, kept = p.number(int(said.get("axis", 0))), p.number(bool(said.get("keepdims", 1)))
    return p.mb.reduce_argmin(x=p.tensor(node.inputs[0], p.half(node)), axis=axis, keep_dims=kept, name=p.name(node))


def _cumsum(p: Translator, node: ir.Node) -> Any:
    said, rank = attributes(node), len(p.shape(node.outputs[0]))
    return p.mb.cumsum(
        x=p.tensor(node.inputs[0], p.half(node)),
        axis=p.number(int(p.array(node.inputs[1]).item()) % rank),
        exclusive=p.number(bool(said.get("exclusive", 0))),
        reverse=p.number(bool(said.get("reverse", 0))),
        name=p.name(node),
    )


def _instance_norm(p: Translator, node: ir.Node) -> Any:
    """In float32 and in pieces: it sums the squares of a whole map."""
    x, rank = p.tensor(node.inputs[0], False), len(p.shape(node.outputs[0]))
    over, kept = p.integers(*range(2, rank)), p.number(True)

    def made(kind: str, what: str, **named: Any) -> Any:
        return getattr(p.mb, kind)(**named, name=p.name(node, f"_{what}" if what else ""))

    def channels(value: ir.Value | None, what: str) -> Any:
        return p.constants.floats(p.array(value).reshape(1, -1, *[1] * (rank - 2)), False, p.name(node, f"_{what}"))

    mean = made("reduce_mean", "mean", x=x, axes=over, keep_dims=kept)
    centred = made("sub", "centred", x=x, y=mean)
    squares = made("mul", "squares", x=centred, y=centred)
    variance = made("reduce_mean", "variance", x=squares, axes=over, keep_dims=kept)
    epsilon = p.constants.floats(np.float32(attributes(node).get("epsilon", 1e-5)), False, p.name(node, "_epsilon"))
    spread = made("sqrt", "spread", x=made("add", "above_zero", x=variance, y=epsilon))
    normed = made("real_div", "normed", x=centred, y=spread)
    scaled = made("mul", "scaled", x=normed, y=channels(node.inputs[1], "scale"))
    return made("add", "", x=scaled, y=channels(node.inputs[2], "shift"))


TABLE: dict[str, Entry] = {
    **{kind: unary(kind.lower()) for kind in ("Atan", "Ceil", "Cos", "Floor", "Round", "Sign", "Sin", "Softplus", "Softsign")},
    "And": _logical("logical_and"),
    "ArgMin": _argmin,
    "Celu": _celu,
    "CumSum": _cumsum,
    "Elu": _elu,
    "Equal": _compared("equal"),
    "Greater": _compared("greater"),
    "GreaterOrEqual": _compared("greater_equal"),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "InstanceNormalization": _instance_norm,
    "Less": _compared("less"),
    "LessOrEqual": _compared("less_equal"),
    "Log": _log,
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
WHOLE = ("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Where", "Xor")
"""What may read whole numbers, or truths."""
