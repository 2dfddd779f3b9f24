"""Matrix products and attention. Sums are float32's, by numpy's BLAS."""

from __future__ import annotations

import math

import numpy as np

from edgec.lowering.coreml.evaluator.operations.registry import Array, Unsupported, floats, operation

SCORES = 2**19
"""Attention scores that are in work at once, 2 MB, which stay in a core's cache: queries are taken in groups."""


@operation("linear")
def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """x·Wᵀ + b: `x` [..., C], `weight` [D, C], `bias` [D]."""
    # One product of matrices: numpy would take a stack of them one by one, and copy the turned weight for each.
    result = (floats(x).reshape(-1, x.shape[-1]) @ floats(weight).T).reshape(*x.shape[:-1], len(weight))
    return np.asarray(result if bias is None else result + floats(bias))


@operation("matmul")
def matmul(x: Array, y: Array, transpose_x: bool = False, transpose_y: bool = False) -> Array:
    """Transposing has no effect on a vector."""
    left, right = floats(x), floats(y)
    if transpose_x and left.ndim > 1:
        left = left.swapaxes(-1, -2)
    if transpose_y and right.ndim > 1:
        right = right.swapaxes(-1, -2)
    return np.asarray(left @ right)


@operation("einsum")
def einsum(values: list[Array], equation: str) -> Array:
    """By numpy's `einsum`, whose notation is MIL's."""
    return np.asarray(np.einsum(equation, *map(floats, values), optimize=True))


@operation("scaled_dot_product_attention")
def scaled_dot_product_attention(query: Array, key: Array, value: Array, attn_mask: Array | None = None) -> Array:
    """softmax(q·kᵀ/√E + mask)·v, float32 within. Apple says that fusion and accumulation differ between its backends: where one
    keeps the scores in fp16, this function is the more exact."""
    if query.ndim < 3 or not query.shape[:-2] == key.shape[:-2] == value.shape[:-2]:
        raise Unsupported(f"query {list(query.shape)}, key {list(key.shape)}, value {list(value.shape)}")
    queries, keys, values = floats(query) / np.float32(math.sqrt(query.shape[-1])), floats(key), floats(value)
    bias = None
    if attn_mask is not None:
        mask = np.where(attn_mask, np.float32(0), np.float32(-np.inf)) if attn_mask.dtype == np.bool_ else floats(attn_mask)
        bias = np.broadcast_to(mask, (*query.shape[:-1], key.shape[-2]))
    result = np.empty((*query.shape[:-1], value.shape[-1]), np.float32)
    step = max(1, SCORES // key.shape[-2])
    for head in np.ndindex(*query.shape[:-2]):
        turned = np.ascontiguousarray(keys[head].T)
        for start in range(0, query.shape[-2], step):
            rows = slice(start, start + step)
            scores = queries[head][rows] @ turned
            if bias is not None:
                scores += bias[head][rows]
            scores -= scores.max(axis=-1, keepdims=True)
            np.exp(scores, out=scores)
            # Divided once they are mixed, which are fewer numbers.
            result[head][rows] = (scores @ values[head]) / scores.sum(axis=-1, keepdims=True)
    return result
