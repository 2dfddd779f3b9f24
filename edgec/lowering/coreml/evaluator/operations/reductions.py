"""Sums, means, extremes, and the normalisations that are made of them. All of them sum in float32."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from edgec.lowering.coreml.evaluator.operations.registry import Array, Unsupported, floats, ints, operation, wide

_REDUCTIONS: dict[str, Callable[..., Array]] = {
    "reduce_mean": lambda x, **options: np.mean(floats(x), **options),
    "reduce_sum": lambda x, **options: np.sum(wide(x), **options),
    "reduce_max": lambda x, **options: np.max(wide(x), **options),
    "reduce_min": lambda x, **options: np.min(wide(x), **options),
    "reduce_sum_square": lambda x, **options: np.sum(np.square(wide(x)), **options),
    "reduce_prod": lambda x, **options: np.prod(wide(x), **options),
    "reduce_l1_norm": lambda x, **options: np.sum(np.abs(wide(x)), **options),
    "reduce_l2_norm": lambda x, **options: np.sqrt(np.sum(np.square(floats(x)), **options)),
}


def _reduction(kind: str, function: Callable[..., Array]) -> None:
    @operation(kind)
    def evaluate(x: Array, axes: Array | None = None, keep_dims: bool = False) -> Array:
        return np.asarray(function(x, axis=None if axes is None else tuple(ints(axes)), keepdims=bool(keep_dims)))


for _kind, _function in _REDUCTIONS.items():
    _reduction(_kind, _function)


def _argument(kind: str, function: Callable[..., Array]) -> None:
    @operation(kind)
    def evaluate(x: Array, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Array:
        """The first of equal values; Apple's hardware may take another."""
        if output_dtype not in ("int32", "uint16"):
            raise Unsupported(f"output_dtype {output_dtype!r}")
        return np.asarray(function(wide(x), axis=int(axis), keepdims=bool(keep_dims)).astype(output_dtype))


_argument("reduce_argmax", np.argmax)
_argument("reduce_argmin", np.argmin)


@operation("cumsum")
def cumsum(x: Array, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Array:
    """`exclusive` leaves each element out of its own sum; `reverse` sums from the end."""
    values = np.flip(wide(x), int(axis)) if reverse else wide(x)
    sums = np.cumsum(values, int(axis))
    sums = sums - values if exclusive else sums
    return np.asarray(np.flip(sums, int(axis)) if reverse else sums)


@operation("topk")
def topk(
    x: Array, k: int = 1, axis: int = -1, ascending: bool = False, sort: bool = True, return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> list[Array]:  # fmt: skip
    """Of equal values the first; Apple's hardware may take another."""
    values, count = wide(x), x.shape[int(axis)] if int(k) == -1 else int(k)
    if output_indices_dtype not in ("int32", "uint16"):
        raise Unsupported(f"output_indices_dtype {output_indices_dtype!r}")
    order = np.argsort(values if ascending else -values, int(axis), kind="stable")
    order = np.take(order, np.arange(count), int(axis))
    best = np.take_along_axis(x, order, int(axis))
    return [best, order.astype(output_indices_dtype)] if return_indices else [best]


@operation("softmax")
def softmax(x: Array, axis: int = -1) -> Array:
    """Along `axis`, the largest value subtracted first."""
    values = floats(x)
    raised = np.exp(values - values.max(axis=int(axis), keepdims=True))
    return np.asarray(raised / raised.sum(axis=int(axis), keepdims=True))


@operation("layer_norm")
def layer_norm(
    x: Array, axes: Array | None = None, gamma: Array | None = None, beta: Array | None = None, epsilon: float = 1e-5
) -> Array:
    """Mean and variance in float32, whatever x is. Apple's GPU and Neural Engine may sum an fp16 input in fp16, whose squares
    overflow beyond 255: casts to fp32 around the operation are what makes it safe, not this function."""
    values = floats(x)
    dims = tuple(range(x.ndim)) if axes is None else tuple(sorted(axis % x.ndim for axis in ints(axes)))
    sizes = [size if axis in dims else 1 for axis, size in enumerate(x.shape)]
    for name, parameter in (("gamma", gamma), ("beta", beta)):
        if parameter is not None and parameter.shape != tuple(x.shape[axis] for axis in dims):
            raise Unsupported(f"{name} of shape {list(parameter.shape)} over axes {list(dims)} of {list(x.shape)}")
    centred = values - values.mean(axis=dims, keepdims=True)
    variance = np.square(centred).sum(axis=dims, keepdims=True) / np.float32(prod(sizes))
    result = centred / np.sqrt(variance + np.float32(epsilon))
    if gamma is not None:
        result *= floats(gamma).reshape(sizes)
    if beta is not None:
        result += floats(beta).reshape(sizes)
    return np.asarray(result)


@operation("batch_norm")
def batch_norm(
    x: Array, mean: Array, variance: Array, gamma: Array | None = None, beta: Array | None = None, epsilon: float = 1e-5
) -> Array:
    """(x - mean) / √(variance + epsilon) · gamma + beta by channel, the second axis; parameters are [C]."""
    shape = (-1, *[1] * (x.ndim - 2))
    scale = 1 / np.sqrt(floats(variance) + np.float32(epsilon)) * (1 if gamma is None else floats(gamma))
    offset = (0 if beta is None else floats(beta)) - floats(mean) * scale
    return np.asarray(floats(x) * scale.reshape(shape) + offset.reshape(shape))
