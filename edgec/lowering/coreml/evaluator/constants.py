"""The program's constants: as they are in the file, or decompressed.

coremltools' definitions are followed: iOS16/constexpr_ops.py and iOS18/compression.py under converters/mil/mil/ops/defs
(github.com/apple/coremltools). Sparse constants are refused by name, as every operation that is not here.
"""

from __future__ import annotations

from math import prod

import numpy as np

from edgec.lowering.coreml.evaluator.operations.registry import Array, Unsupported, ints, operation
from edgec.lowering.coreml.evaluator.types import TensorType, unpack


@operation("const")
def const(val: Array) -> Array:
    """A constant is its value."""
    return val


@operation("constexpr_cast")
def constexpr_cast(source_val: Array, output_dtype: str) -> Array:
    """To float32, the only type that the definition allows."""
    if output_dtype != "fp32":
        raise Unsupported(f"output_dtype {output_dtype!r}")
    return source_val.astype(np.float32)


@operation("constexpr_affine_dequantize")
def constexpr_affine_dequantize(quantized_data: Array, zero_point: Array, scale: Array, axis: int) -> Array:
    """scale * (data - zero_point), each a scalar or a vector along `axis`."""
    shape = [1] * quantized_data.ndim
    shape[int(axis)] = -1
    zero, factor = (value.reshape(shape) if value.ndim else value for value in (zero_point, scale))
    return (quantized_data.astype(np.float32) - zero.astype(np.float32)) * factor.astype(np.float32)


@operation("constexpr_blockwise_shift_scale")
def constexpr_blockwise_shift_scale(data: Array, scale: Array, offset: Array | None = None) -> Array:
    """scale * (data - offset); a scale serves a block, as large as data's shape over scale's says."""
    values = data.astype(np.float32)
    if offset is not None:
        values -= _repeated(offset, data.shape)
    return values * _repeated(scale, data.shape)


@operation("constexpr_lut_to_dense")
def constexpr_lut_to_dense(indices: Array, lut: Array, shape: Array | None = None, vector_axis: int | None = None) -> Array:
    """iOS 16: one table [palettes], indices packed in bytes, and `shape`. iOS 18: tables [..., palettes, vector], each for a
    block of the (unpacked) indices; entries that are vectors lie along `vector_axis`."""
    if shape is not None:
        if lut.ndim != 1:
            raise Unsupported(f"lut of shape {list(lut.shape)}")
        bits = len(lut).bit_length() - 1
        packed = TensorType("uint8" if bits == 8 else f"uint{bits}", tuple(ints(shape)))
        positions = indices if bits == 8 else unpack(indices, packed)
        return lut[positions.reshape(packed.static)]
    if lut.ndim != indices.ndim + 2:
        raise Unsupported(f"lut of shape {list(lut.shape)} for indices of {list(indices.shape)}")
    palettes, width = lut.shape[-2:]
    tables = np.arange(prod(lut.shape[:-2])).reshape(lut.shape[:-2])
    entries = lut.reshape(-1, palettes, width)[_blocks(tables, indices.shape), indices]
    if width == 1:
        return entries[..., 0]
    if vector_axis is None:
        raise Unsupported("entries that are vectors, and no vector_axis")
    axis = int(vector_axis) % indices.ndim
    joined = [size * width if dim == axis else size for dim, size in enumerate(indices.shape)]
    return np.moveaxis(entries, -1, axis + 1).reshape(joined)


def _repeated(values: Array, shape: tuple[int, ...]) -> Array:
    return _blocks(values.astype(np.float32), shape)


def _blocks(values: Array, shape: tuple[int, ...]) -> Array:
    """Each value over its block of `shape`; axes of one value are left to broadcasting."""
    if values.ndim != len(shape) or any(size % count for size, count in zip(shape, values.shape, strict=True)):
        raise Unsupported(f"blocks of {list(values.shape)} over {list(shape)}")
    for axis, (size, count) in enumerate(zip(shape, values.shape, strict=True)):
        if 1 < count < size:
            values = np.repeat(values, size // count, axis)
    return values
