"""Activations between float and 8 bits."""

from __future__ import annotations

import numpy as np

from edgec.lowering.coreml.evaluator.operations.registry import Array, Unsupported, exact, floats, operation
from edgec.lowering.coreml.evaluator.types import DTYPES


@operation("quantize")
def quantize(input: Array, scale: Array, output_dtype: str, zero_point: Array | None = None, axis: int | None = None) -> Array:
    """clip(round(input / scale) + zero_point), the quotient in float32, halves to the even. An integer product that Apple's
    hardware makes of what follows sums exactly in int32; here it is a float32 sum of the dequantised values."""
    if output_dtype not in ("int8", "uint8"):
        raise Unsupported(f"output_dtype {output_dtype!r}")
    limits = np.iinfo(DTYPES[output_dtype])
    quotient = np.rint(floats(input) / floats(_along(scale, input, axis)))
    if zero_point is not None:
        quotient += _along(zero_point, input, axis).astype(np.float32)
    return np.asarray(np.clip(quotient, limits.min, limits.max).astype(DTYPES[output_dtype]))


@exact("quantize")
def quantize_exactly(
    input: Array,
    scale: Array,
    output_dtype: str,
    zero_point: Array | None = None,
    axis: int | None = None,
) -> Array:
    """Neither rounded nor clipped: a wrong scale or zero point shows all the same."""
    quotient = floats(input) / floats(_along(scale, input, axis))
    return quotient if zero_point is None else quotient + _along(zero_point, input, axis).astype(np.float32)


@operation("dequantize")
def dequantize(input: Array, scale: Array, zero_point: Array | None = None, axis: int | None = None) -> Array:
    """(input - zero_point) · scale; scale and zero point are scalars, or vectors along `axis`."""
    if input.dtype not in (np.int8, np.uint8, np.float32):  # float32 from `quantize_exactly`
        raise Unsupported(f"{input.dtype} where int8 or uint8 is expected")
    values = input.astype(np.float32)
    if zero_point is not None:
        values -= _along(zero_point, input, axis).astype(np.float32)
    return values * floats(_along(scale, input, axis))


def _along(parameter: Array, values: Array, axis: int | None) -> Array:
    """A scalar as it is, a vector along `axis`."""
    if parameter.ndim == 0:
        return parameter
    if parameter.ndim > 1 or axis is None or len(parameter) != values.shape[int(axis)]:
        raise Unsupported(f"scale or zero point of shape {list(parameter.shape)} along axis {axis} of {list(values.shape)}")
    shape = [1] * values.ndim
    shape[int(axis)] = -1
    return parameter.reshape(shape)
