"""Operations that move values and compute none: results are exact in every type."""

from __future__ import annotations

from math import prod

import numpy as np

from edgec.lowering.coreml.evaluator.operations.registry import Array, Unsupported, ints, ints_or_ones, operation


@operation("reshape")
def reshape(x: Array, shape: Array) -> Array:
    """-1 takes the elements that remain; 0 takes the size of x's dimension that is as far from the last, or 1. (The rule of iOS
    17; the older one, for equal ranks, is a case of it.)"""
    sizes = ints(shape)
    aligned = (*[1] * max(0, len(sizes) - x.ndim), *x.shape)[-len(sizes) :] if sizes else ()
    return x.reshape([side if size == 0 else size for size, side in zip(sizes, aligned, strict=True)])


@operation("transpose")
def transpose(x: Array, perm: Array) -> Array:
    """`perm` names the axis of x for each axis of the result."""
    return np.asarray(x.transpose(ints(perm)))


@operation("expand_dims")
def expand_dims(x: Array, axes: Array) -> Array:
    """Negative axes count in the result."""
    return np.expand_dims(x, tuple(ints(axes)))


@operation("squeeze")
def squeeze(x: Array, axes: Array | None = None) -> Array:
    """Drops these axes, or all of size one."""
    return np.squeeze(x, None if axes is None else tuple(ints(axes)))


@operation("flatten2d")
def flatten2d(x: Array, axis: int = 1) -> Array:
    """To two dimensions, of which the second begins at `axis`."""
    return x.reshape(prod(x.shape[: int(axis)]), -1)


@operation("shape")
def shape(x: Array) -> Array:
    """The sizes of x, int32."""
    return np.array(x.shape, np.int32)


@operation("concat")
def concat(values: list[Array], axis: int, interleave: bool = False) -> Array:
    """Along `axis`. Raises `Unsupported` for interleaved values."""
    if interleave:
        raise Unsupported("interleave")
    return np.concatenate(values, int(axis))


@operation("stack")
def stack(values: list[Array], axis: int) -> Array:
    """Along a new axis."""
    return np.stack(values, int(axis))


@operation("split")
def split(x: Array, axis: int, num_splits: int | None = None, split_sizes: Array | None = None) -> list[Array]:
    """Into `num_splits` equal parts, or parts of `split_sizes`. Raises `Unsupported` where these do not fit the axis."""
    if split_sizes is None:
        if num_splits is None:
            raise Unsupported("neither num_splits nor split_sizes")
        return np.split(x, int(num_splits), int(axis))
    sizes = ints(split_sizes)
    if sum(sizes) != x.shape[int(axis)] or num_splits not in (None, len(sizes)):
        raise Unsupported(f"split_sizes {sizes} of {x.shape[int(axis)]} in {num_splits}")
    return np.split(x, np.cumsum(sizes)[:-1].tolist(), int(axis))


@operation("slice_by_index")
def slice_by_index(
    x: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    """By axis from `begin` to before `end`. Where a mask is true: `begin_mask` and `end_mask` ignore that end, `squeeze_mask`
    takes one element and drops the axis."""
    strides = ints_or_ones(stride, x.ndim)
    starts, ends, squeezed = (
        [False] * x.ndim if mask is None else [bool(flag) for flag in np.atleast_1d(mask)]
        for mask in (begin_mask, end_mask, squeeze_mask)
    )
    index: list[int | slice] = []
    for axis, (first, last, step) in enumerate(zip(ints(begin), ints(end), strides, strict=True)):
        if squeezed[axis]:
            index.append(first)
        else:
            index.append(slice(None if starts[axis] else first, None if ends[axis] else last, step))
    return np.asarray(x[tuple(index)])


@operation("slice_by_size")
def slice_by_size(x: Array, begin: Array, size: Array) -> Array:
    """`size` elements from `begin` on, by axis; -1 takes all that remain."""
    starts = [first % side for first, side in zip(ints(begin), x.shape, strict=True)]
    ends = [None if length == -1 else first + length for first, length in zip(starts, ints(size), strict=True)]
    return x[tuple(slice(*part) for part in zip(starts, ends, strict=True))]


@operation("gather")
def gather(x: Array, indices: Array, axis: int = 0, batch_dims: int = 0, validate_indices: bool | None = None) -> Array:
    """Elements of one axis. Raises `Unsupported` for batch dimensions, and for indices out of bounds."""
    if int(batch_dims):
        raise Unsupported(f"batch_dims {int(batch_dims)}")
    _check_indices(indices, x.shape[int(axis)], validate_indices)
    return np.take(x, indices.astype(np.int64), int(axis))


@operation("gather_along_axis")
def gather_along_axis(x: Array, indices: Array, axis: int = 0, validate_indices: bool | None = None) -> Array:
    """As numpy's `take_along_axis`. Raises `Unsupported` for indices out of bounds."""
    _check_indices(indices, x.shape[int(axis)], validate_indices)
    return np.take_along_axis(x, indices.astype(np.int64), int(axis))


def _check_indices(indices: Array, size: int, validate_indices: bool | None) -> None:
    """From iOS 17, which brought `validate_indices`, a negative index is out of bounds, and what it then reads is undefined."""
    lowest = -size if validate_indices is None else 0
    if indices.size and not (lowest <= int(indices.min()) and int(indices.max()) < size):
        raise Unsupported(f"indices from {indices.min()} to {indices.max()} into {size}: what they read is undefined")


@operation("pad")
def pad(x: Array, pad: Array, mode: str = "constant", constant_val: float = 0.0) -> Array:
    """`pad` holds (before, after) of the last dimensions."""
    amounts = np.reshape(pad, (-1, 2)).astype(int).tolist()
    widths = [[0, 0]] * (x.ndim - len(amounts)) + amounts
    if mode == "constant":
        return np.pad(x, widths, constant_values=constant_val)
    if mode == "reflect":
        return np.pad(x, widths, mode="reflect")
    if mode == "replicate":
        return np.pad(x, widths, mode="edge")
    raise Unsupported(f"mode {mode!r}")


@operation("depth_to_space")
def depth_to_space(x: Array, block_size: int) -> Array:
    """A pixel's block comes from channels that lie far apart."""
    count, channels, rows, columns = x.shape
    size = int(block_size)
    parts = x.reshape(count, size, size, channels // size**2, rows, columns).transpose(0, 3, 4, 1, 5, 2)
    return np.asarray(parts.reshape(count, -1, rows * size, columns * size))


@operation("pixel_shuffle")
def pixel_shuffle(x: Array, upscale_factor: int) -> Array:
    """As PyTorch: a pixel's block comes from neighbouring channels."""
    count, channels, rows, columns = x.shape
    size = int(upscale_factor)
    parts = x.reshape(count, channels // size**2, size, size, rows, columns).transpose(0, 1, 4, 2, 5, 3)
    return np.asarray(parts.reshape(count, -1, rows * size, columns * size))


@operation("space_to_depth")
def space_to_depth(x: Array, block_size: int) -> Array:
    """The inverse of `depth_to_space`."""
    count, channels, rows, columns = x.shape
    size = int(block_size)
    parts = x.reshape(count, channels, rows // size, size, columns // size, size).transpose(0, 3, 5, 1, 2, 4)
    return np.asarray(parts.reshape(count, -1, rows // size, columns // size))


@operation("tile")
def tile(x: Array, reps: Array) -> Array:
    """`reps` copies along each axis."""
    return np.tile(x, ints(reps))


@operation("reverse")
def reverse(x: Array, axes: Array | None = None) -> Array:
    """Along these axes, or along all."""
    return np.flip(x, None if axes is None else tuple(ints(axes)))
