"""Attention as the one operation that Core ML has from iOS 18 on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from edgec.lowering.coreml.patterns import Match

if TYPE_CHECKING:
    from edgec.lowering.coreml.program import Translator


def attention(p: Translator, mix: onnx.NodeProto, match: Match) -> Any:
    """softmax(Q·Kᵀ)·V, named as the last of the three. `scaled_dot_product_attention` divides the scores by the square root of
    the heads' width, which the hub graph has in Q's weights already: Q is multiplied by it again. For the family's 64 channels a
    head that is 8, which changes no digit; in weights or RoPE tables it would save a multiplication, and tensors under the hub
    graph's names would no longer hold what the hub graph's do.
    """
    half = p.half(mix) and not any(p.plan.precision_of(name) == "fp32" for name in match.absorbed)
    query, key, value = (p.tensor(name, half) for name in match.reads)
    width = query.shape[-1]
    factor = p.constants.floats(np.float32(width**0.5), half, f"attention_{width}_{'fp16' if half else 'fp32'}")
    query = p.mb.mul(x=query, y=factor, name=p.name(mix.name, "_query"))
    return p.mb.scaled_dot_product_attention(query=query, key=key, value=value, name=p.name(mix.name))
