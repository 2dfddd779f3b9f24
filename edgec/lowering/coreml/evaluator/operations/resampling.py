"""Resampling of the last two dimensions, and pooling.

Definitions: coremltools, converters/mil/mil/ops/defs, iOS15/image_resizing.py and iOS15/pool.py (github.com/apple/coremltools).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgec.lowering.coreml.evaluator.operations.convolution import padded_sides
from edgec.lowering.coreml.evaluator.operations.registry import (
    Array,
    Floats,
    Unsupported,
    floats,
    ints,
    ints_or_ones,
    operation,
    wide,
)

PLANES = 2**22
"""Elements of results that are in work at once: they stay in the cache between the passes over them."""


@operation("resize_bilinear")
def resize_bilinear(x: Array, target_size_height: int = 1, target_size_width: int = 1, sampling_mode: str = "DEFAULT") -> Array:
    """Rows first, then columns: the two are linear, and either order gives the same but for rounding."""
    values = floats(x)
    sides = (int(target_size_height), int(target_size_width))
    planes = values.reshape(-1, *values.shape[-2:])
    rows, columns = (_between(size, new, sampling_mode) for size, new in zip(values.shape[-2:], sides, strict=True))
    result = np.empty((len(planes), *sides), np.float32)
    step = max(1, PLANES // (sides[0] * sides[1]))
    for start in range(0, len(planes), step):
        part = planes[start : start + step]
        result[start : start + step] = _mixed(_mixed(part, 1, *rows), 2, *columns)
    return result.reshape(*x.shape[:-2], *sides)


def _mixed(values: Floats, axis: int, first: NDArray[np.intp], share: Floats) -> Floats:
    """Values interpolated along `axis` between each index in `first` and the next, `share` of the way."""
    second = np.minimum(first + 1, values.shape[axis] - 1)
    weights = share.reshape([-1 if dim == axis else 1 for dim in range(values.ndim)])
    mixed: Floats = np.take(values, second, axis)
    mixed -= (before := np.take(values, first, axis))
    mixed *= weights
    mixed += before
    return mixed


def _between(size: int, new: int, sampling_mode: str) -> tuple[NDArray[np.intp], Floats]:
    """For each of `new` pixels, the pixel of `size` before it and the share of the way to the next one."""
    places = np.arange(new)
    points: NDArray[Any]
    if sampling_mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        middle = (size - 1) / 2 if sampling_mode == "ALIGN_CORNERS" else 0.0
        points = places * ((size - 1) / (new - 1)) if new > 1 else np.full(1, middle)
    elif sampling_mode == "UNALIGN_CORNERS":
        points = (places + 0.5) * (size / new) - 0.5
    elif sampling_mode == "OFFSET_CORNERS":
        points = (places + 0.5) * (max(1, size - 1) / new)
    elif sampling_mode == "DEFAULT":
        points = places * (size / new)
    else:
        raise Unsupported(f"sampling_mode {sampling_mode!r}")
    points = np.clip(points, 0, size - 1)
    first = np.floor(points).astype(np.intp)
    return first, (points - first).astype(np.float32)


@operation("upsample_nearest_neighbor")
def upsample_nearest_neighbor(x: Array, scale_factor_height: float = 1, scale_factor_width: float = 1) -> Array:
    """By whole factors only, each pixel repeated. Raises `Unsupported` for others."""
    factors = [float(scale_factor_height), float(scale_factor_width)]
    if any(factor < 1 or factor != int(factor) for factor in factors):
        raise Unsupported(f"factors {factors}")
    return np.repeat(np.repeat(x, int(factors[0]), -2), int(factors[1]), -1)


@operation("resample")
def resample(
    x: Array, coordinates: Array, sampling_mode: str, padding_mode: str, padding_value: float, coordinates_mode: str,
    align_corners: bool,
) -> Array:  # fmt: skip
    """Bilinear samples of `x` [N, C, H, W] at `coordinates` [N, h, w, 2], (column, row) from -1 to 1. Raises `Unsupported` for
    other modes."""
    if (sampling_mode, coordinates_mode) != ("bilinear", "normalized_minus_one_to_one") or padding_mode not in _OUTSIDE:
        raise Unsupported(f"{sampling_mode}, {coordinates_mode}, {padding_mode}")
    values, positions = floats(x), floats(coordinates)
    sides = np.array(x.shape[:1:-1], np.float32)
    points = (positions + 1) / 2 * (sides - 1) if align_corners else ((positions + 1) * sides - 1) / 2
    if padding_mode == "border":
        points = np.clip(points, 0, sides - 1)
    first = np.floor(points)
    share = points - first
    sampled = np.zeros((*x.shape[:2], *coordinates.shape[1:3]), np.float32)
    every = np.arange(len(values))[:, None, None]
    for right in (0, 1):
        for down in (0, 1):
            corner = first + np.array([right, down], np.float32)
            weight = np.prod(np.where([right, down], share, 1 - share), axis=-1, dtype=np.float32)
            inside = np.asarray(((corner >= 0) & (corner < sides)).all(axis=-1))
            columns, rows = (np.clip(corner[..., side], 0, sides[side] - 1).astype(np.intp) for side in (0, 1))
            part = np.moveaxis(values[every, :, rows, columns], -1, 1)
            sampled += weight[:, None] * np.where(inside[:, None], part, np.float32(padding_value))
    return sampled


_OUTSIDE = ("constant", "border")


@operation("max_pool")
def max_pool(
    x: Array, kernel_sizes: Array, strides: Array | None = None, pad_type: str = "valid", pad: Array | None = None,
    ceil_mode: bool = False,
) -> Array:  # fmt: skip
    """Padding never wins: it counts as minus infinity."""
    return _pooled(wide(x), kernel_sizes, strides, pad_type, pad, bool(ceil_mode), -np.inf, np.max)


@operation("avg_pool")
def avg_pool(
    x: Array, kernel_sizes: Array, strides: Array | None = None, pad_type: str = "valid", pad: Array | None = None,
    exclude_padding_from_average: bool = False, ceil_mode: bool = False,
) -> Array:  # fmt: skip
    """Padding counts as zeros, or not at all with `exclude_padding_from_average`."""
    options = (kernel_sizes, strides, pad_type, pad, bool(ceil_mode), 0.0, np.mean)
    means = _pooled(floats(x), *options)
    if not exclude_padding_from_average:
        return means
    return np.asarray(means / _pooled(np.ones((1, 1, *x.shape[2:]), np.float32), *options))


def _pooled(
    values: Array, kernel_sizes: Array, strides: Array | None, pad_type: str, pad: Array | None, ceil_mode: bool,
    outside: float, reduce: Callable[..., Array],
) -> Array:  # fmt: skip
    if ceil_mode:
        raise Unsupported("ceil_mode")
    kernel = ints(kernel_sizes)
    steps = ints_or_ones(strides, len(kernel))
    sides = padded_sides(pad_type, None if pad is None else ints(pad), values.shape[2:], kernel, steps)
    values = np.pad(values, [(0, 0), (0, 0), *sides], constant_values=outside)
    axes = tuple(range(2, 2 + len(kernel)))
    windows = sliding_window_view(values, kernel, axis=axes)  # type: ignore[call-overload]
    every: tuple[Any, ...] = (slice(None), slice(None), *(slice(None, None, step) for step in steps))
    return reduce(windows[every], axis=tuple(range(-len(kernel), 0)))
