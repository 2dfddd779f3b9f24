"""Convolution in one to three dimensions, and its transpose: patches side by side become one matrix product, depthwise kernels
run tap by tap."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from edgec.lowering.coreml.evaluator.operations.registry import Array, Floats, Unsupported, floats, ints, ints_or_ones, operation

COLUMNS = 2**24
"""Elements of unfolded patches that are held at once, 64 MB."""
CHANNELS = 8
"""Channels of a depthwise convolution at a time: their planes stay in the cache while the kernel's taps pass over them."""


@operation("conv")
def conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    dilations: Array | None = None,
    groups: int = 1,
) -> Array:
    """`x` [N, C, *spatial], `weight` [C_out, C / groups, *kernel]."""
    spatial, kernel, parts = x.shape[2:], weight.shape[2:], int(groups)
    steps, spread = (ints_or_ones(sizes, len(kernel)) for sizes in (strides, dilations))
    if not 1 <= len(kernel) <= 3 or len(spatial) != len(kernel):
        raise Unsupported(f"x {list(x.shape)}, weight {list(weight.shape)}")
    if x.shape[1] != weight.shape[1] * parts or weight.shape[0] % parts:
        raise Unsupported(f"{parts} groups of x {list(x.shape)} and weight {list(weight.shape)}")
    reach = [(size - 1) * each + 1 for size, each in zip(kernel, spread, strict=True)]
    padding = padded_sides(pad_type, None if pad is None else ints(pad), spatial, reach, steps)
    values, weights = floats(x), floats(weight)
    if any(itertools.chain(*padding)):
        values = np.pad(values, [(0, 0), (0, 0), *padding])
    if steps == list(kernel) == reach and parts == 1:
        result = _tiled(values, weights)
    elif weight.shape[1] == 1 and parts == x.shape[1]:
        result = _depthwise(values, weights, steps, spread, reach)
    else:
        sections = zip(np.split(values, parts, axis=1), np.split(weights, parts), strict=True)
        result = np.concatenate([_unfolded(part, kernels, steps, spread, reach) for part, kernels in sections], axis=1)
    return result if bias is None else result + floats(bias).reshape(-1, *[1] * len(kernel))


def padded_sides(
    pad_type: str, pad: list[int] | None, spatial: Sequence[int], reach: Sequence[int], steps: Sequence[int]
) -> list[tuple[int, int]]:
    """Padding (before, after) by spatial dimension, for windows of the length `reach`. Of an odd amount, `same` puts the larger
    part after, `same_lower` before."""
    if pad_type == "valid":
        return [(0, 0)] * len(reach)
    if pad_type == "custom":
        if pad is None or len(pad) != 2 * len(reach):
            raise Unsupported(f"pad_type custom with pad {pad}")
        return list(zip(pad[::2], pad[1::2], strict=True))
    if pad_type not in ("same", "same_lower"):
        raise Unsupported(f"pad_type {pad_type!r}")
    sides = []
    for size, length, step in zip(spatial, reach, steps, strict=True):
        total = max(0, (ceil(size / step) - 1) * step + length - size)
        small, large = total // 2, total - total // 2
        sides.append((small, large) if pad_type == "same" else (large, small))
    return sides


def _tiled(x: Floats, weight: Floats) -> Floats:
    """Kernels side by side, as a patch embedding's: one product over all patches. Pixels at an edge that fill no patch are left
    out."""
    kernel = weight.shape[2:]
    counts = [size // each for size, each in zip(x.shape[2:], kernel, strict=True)]
    covered: tuple[Any, ...] = (..., *(slice(count * each) for count, each in zip(counts, kernel, strict=True)))
    x = x[covered]
    tiles = x.reshape(*x.shape[:2], *itertools.chain(*zip(counts, kernel, strict=True)))
    dims = len(kernel)
    order = (0, *range(2, 2 + 2 * dims, 2), 1, *range(3, 3 + 2 * dims, 2))
    rows = tiles.transpose(order).reshape(-1, prod(weight.shape[1:]))
    result = rows @ weight.reshape(len(weight), -1).T
    return np.moveaxis(result.reshape(len(x), *counts, -1), -1, 1)


def _depthwise(x: Floats, weight: Floats, steps: list[int], spread: list[int], reach: list[int]) -> Floats:
    """Each channel with its own kernels: weighted copies of the whole plane, one a tap."""
    counts = [(size - length) // step + 1 for size, length, step in zip(x.shape[2:], reach, steps, strict=True)]
    each = len(weight) // x.shape[1]
    ones = [1] * len(counts)
    result = np.zeros((len(x), len(weight), *counts), np.float32)
    for first in range(0, x.shape[1], CHANNELS):
        source = x[:, first : first + CHANNELS]
        target = result[:, first * each : (first + CHANNELS) * each]
        kernels = weight[first * each : (first + CHANNELS) * each]
        for tap in itertools.product(*map(range, weight.shape[2:])):
            factors: tuple[Any, ...] = (slice(None), 0, *tap)
            covered = source[_positions(tap, spread, counts, steps)]
            target += (np.repeat(covered, each, axis=1) if each > 1 else covered) * kernels[factors].reshape(-1, *ones)
    return result


def _unfolded(x: Floats, weight: Floats, steps: list[int], spread: list[int], reach: list[int]) -> Floats:
    """One row of a matrix for each patch; as many rows of the output at a time as fit into `COLUMNS`."""
    dims = len(reach)
    windows = sliding_window_view(x, reach, axis=tuple(range(2, 2 + dims)))  # type: ignore[call-overload]
    every: tuple[Any, ...] = (..., *(slice(None, None, step) for step in (*steps, *spread)))
    windows = windows[every]
    rows = np.moveaxis(windows, 1, 1 + dims)  # [N, *out, C, *kernel]
    flat = weight.reshape(len(weight), -1).T
    step = max(1, COLUMNS // max(1, len(x) * prod(rows.shape[2:])))
    parts = [rows[:, start : start + step].reshape(len(x), -1, len(flat)) @ flat for start in range(0, rows.shape[1], step)]
    joined = np.concatenate(parts, axis=1).reshape(len(x), *rows.shape[1 : 1 + dims], len(weight))
    return np.moveaxis(joined, -1, 1)


@operation("conv_transpose")
def conv_transpose(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    dilations: Array | None = None,
    groups: int = 1,
    output_shape: Array | None = None,
) -> Array:
    """`x` [N, C, *spatial], `weight` [C, C_out / groups, *kernel]: every pixel adds its multiple of a kernel. `pad` is cut
    off."""
    spatial, kernel, parts = x.shape[2:], weight.shape[2:], int(groups)
    steps, spread = (ints_or_ones(sizes, len(kernel)) for sizes in (strides, dilations))
    if len(spatial) != len(kernel) or x.shape[1] != weight.shape[0] or weight.shape[0] % parts or output_shape is not None:
        raise Unsupported(f"{parts} groups of x {list(x.shape)} and weight {list(weight.shape)}, output_shape {output_shape}")
    if pad_type not in ("valid", "custom") or (pad_type == "custom" and (pad is None or len(pad) != 2 * len(kernel))):
        raise Unsupported(f"pad_type {pad_type!r} with pad {pad}")
    cut = ints(pad) if pad_type == "custom" and pad is not None else [0] * 2 * len(kernel)
    whole = [
        (size - 1) * step + (length - 1) * wide + 1
        for size, step, length, wide in zip(spatial, steps, kernel, spread, strict=True)
    ]
    sections = zip(np.split(floats(x), parts, axis=1), np.split(floats(weight), parts), strict=True)
    result = np.concatenate([_transposed(part, kernels, steps, spread, whole) for part, kernels in sections], axis=1)
    inside: tuple[Any, ...] = (
        ...,
        *(slice(first, size - last) for first, last, size in zip(cut[::2], cut[1::2], whole, strict=True)),
    )
    offsets = np.zeros(1, np.float32) if bias is None else floats(bias)
    return np.asarray(result[inside] + offsets.reshape(-1, *[1] * len(kernel)))


def _transposed(x: Floats, weight: Floats, steps: list[int], spread: list[int], whole: list[int]) -> Floats:
    """One product of matrices for all taps of the kernel, which are then added at their positions."""
    count, kernel = weight.shape[1], weight.shape[2:]
    flat = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]) @ weight.reshape(len(weight), -1)
    taps = np.moveaxis(flat.reshape(len(x), *x.shape[2:], count, *kernel), 1 + len(kernel), 1)
    result = np.zeros((len(x), count, *whole), np.float32)
    for tap in itertools.product(*map(range, kernel)):
        index: tuple[Any, ...] = (..., *tap)
        result[_positions(tap, spread, x.shape[2:], steps)] += taps[index]
    return result


def _positions(tap: Sequence[int], spread: Sequence[int], counts: Sequence[int], steps: Sequence[int]) -> tuple[Any, ...]:
    """The index of all elements that one tap of a kernel meets: `counts` of them along each spatial dimension, `steps` apart."""
    starts = [offset * wide for offset, wide in zip(tap, spread, strict=True)]
    ends = [start + (count - 1) * step + 1 for start, count, step in zip(starts, counts, steps, strict=True)]
    return (..., *map(slice, starts, ends, steps))
