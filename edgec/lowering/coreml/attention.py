"""Attention as the one operation that Core ML has from iOS 18 on, and the rotation of what goes into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from edgec.graph.values import name_of
from edgec.lowering.coreml.patterns import Match

if TYPE_CHECKING:
    from edgec.lowering.coreml.program import Translator


def attention(p: Translator, mix: ir.Node, match: Match) -> Any:
    """softmax(Q·Kᵀ)·V, with the name of the last of its three operations. `scaled_dot_product_attention` divides the scores by
    the square root of the heads' width, which the hub graph has in Q's weights already, so Q is multiplied by it again. For the
    family's 64 channels a head that is 8, which is exact in every type. Undoing it in weights or RoPE tables would save a
    multiplication, but tensors would then differ from the hub graph's tensors of the same name."""
    half = _half(p, mix, match)
    query, key, value = (p.tensor(each, half) for each in match.reads)
    width = query.shape[-1]
    factor = p.constants.floats(np.float32(width**0.5), half, f"Attention_{width}_{'fp16' if half else 'fp32'}")
    query = p.mb.mul(x=query, y=factor, name=p.name(mix, "_query"))
    return p.mb.scaled_dot_product_attention(query=query, key=key, value=value, name=p.name(mix))


def rotation(p: Translator, mul: ir.Node, match: Match) -> Any:
    """(-b ‖ a) · s as (b ‖ a) · (-s₁ ‖ s₂), which is one operation less with exactly the same result. Blocks share the table."""
    half = _half(p, mul, match)
    first, second = (p.tensor(each, half) for each in match.reads[:2])
    table = p.array(match.reads[2]).copy()
    table[..., : first.shape[-1]] *= -1
    axis, name = p.number(-1), p.name(match.absorbed[0], "_turned")
    joined = p.mb.concat(values=[first, second], axis=axis, interleave=p.number(False), name=name)
    return p.mb.mul(x=joined, y=p.constants.floats(table, half, p.name(match.reads[2], "_turned")), name=p.name(mul))


def _half(p: Translator, node: ir.Node, match: Match) -> bool:
    return p.half(node) and not any(p.plan.precision_of(name_of(each)) == "fp32" for each in match.absorbed)
