"""What heads do with maps, as modules and functions that export to operations which every runtime has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edgec.heads.types import Array

Floats = NDArray[np.float32]
Grid = tuple[int, int]
"""Rows and columns."""


class Bilinear(nn.Module):
    """Bilinear resampling. `corners` is PyTorch's `align_corners`."""

    def __init__(self, *, corners: bool = False) -> None:
        super().__init__()
        self.corners = corners

    def forward(self, x: Tensor, size: Grid) -> Tensor:
        """[N, C, rows, columns] at `size`; unchanged if it has that size."""
        if tuple(x.shape[2:]) == size:
            return x
        return functional.interpolate(x, size=size, mode="bilinear", align_corners=self.corners)


class Antialiased(nn.Module):
    """The same as `functional.interpolate(…, mode="bilinear", antialias=True)`, to a whole fraction of the size or to a larger
    one: a depthwise convolution, and a correction where its kernel reaches over the edge.

    It exports to Conv and Mul: few runtimes know `antialias` of ONNX's Resize.
    """

    def forward(self, x: Tensor, size: Grid) -> Tensor:
        """[N, C, rows, columns] at `size`."""
        width, rows = x.shape[1], x.shape[2]
        if rows == size[0]:
            return x
        if rows < size[0]:
            return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
        factor = rows // size[0]
        kernel, correction = antialiasing(factor, *size)
        weight = torch.tensor(np.tile(kernel, (width, 1, 1, 1)))
        shrunk = functional.conv2d(x, weight, stride=factor, padding=factor // 2, groups=width)
        return shrunk * torch.tensor(correction)[None, None]


def antialiasing(factor: int, rows: int, columns: int) -> tuple[Floats, Floats]:
    """The kernel, [2·factor, 2·factor], of a convolution with stride `factor` and a padding of half of it, and the factors for
    its result, [rows, columns]: one inside, more where the kernel reaches over the edge.

    The filter is a triangle as wide as two output pixels, normalised over what is inside the picture, as in Pillow and in
    PyTorch's `interpolate` with `antialias=True`. Raises `ValueError` if `factor` is odd.
    """
    if factor % 2:
        raise ValueError(f"an odd factor has another padding: {factor}")
    places = np.arange(2 * factor) + 0.5 - factor
    line = 1 - np.abs(places) / factor
    line /= line.sum()

    def inside(count: int) -> NDArray[np.float64]:
        first = np.arange(count)[:, None] * factor - factor // 2 + np.arange(2 * factor)
        return np.asarray(((first >= 0) & (first < count * factor)) @ line)

    return np.outer(line, line).astype(np.float32), (1 / np.outer(inside(rows), inside(columns))).astype(np.float32)


def concatenated(maps: Sequence[Tensor], resize: Bilinear) -> Tensor:
    """Maps [N, rows, columns, D] as one [N, rows, columns, sum of D], at the first one's resolution."""
    first, *others = maps
    size = (first.shape[1], first.shape[2])
    resized = [first] + [
        x if tuple(x.shape[1:3]) == size else resize(x.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1) for x in others
    ]
    return torch.cat(resized, dim=3) if others else first


def without_norm(
    weight: Array,
    bias: Array,
    norm: Mapping[str, Array],
    eps: float,
    names: Sequence[str] = ("weight", "bias", "mean", "variance"),
) -> tuple[Array, Array]:
    """A 1x1 convolution's weight [C, D] and bias [C] with the batch norm before it folded in: computed in float64, rounded once.
    `names` are those of the norm's four tensors, [D] each."""
    scale, shift, mean, variance = (norm[name].astype(np.float64) for name in names)
    scale = scale / np.sqrt(variance + eps)
    wide = weight.astype(np.float64)
    return (wide * scale).astype(np.float32), (bias.astype(np.float64) + wide @ (shift - mean * scale)).astype(np.float32)
