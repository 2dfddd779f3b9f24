"""DPT depth heads: four maps brought to four resolutions, fused from the coarsest up, and bins or one number a pixel.

Structure: Vision Transformers for Dense Prediction (arXiv 2103.13413) as DINOv3's depth evaluation has it; bins: AdaBins (arXiv
2011.14141). Tensors have the names of Meta's files (`eval/depth/models/dpt_head.py`), so that those are read as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgec.checkpoint.text import listed, shown
from edgec.errors import HeadError
from edgec.heads.building import Builder
from edgec.heads.dense import folded
from edgec.heads.types import Array, Description, Head

Shape = tuple[int, ...]
MAPS = 4
STRIDE = 16
"""What a ViT's patches have; a ConvNeXt's maps are brought to it before they go their ways."""


def shapes(described: Description, found: Mapping[str, Shape], where: str) -> dict[str, Shape]:
    """Names and shapes of the tensors that a head with these dimensions has.

    Raises `HeadError` if its dimensions cannot be told, or if it reads what the hub graph does not give.
    """
    if len(described.layers) != MAPS:
        raise HeadError(
            f"{shown(where)} must say which four layers the depth head reads.",
            evidence=f"layers is {list(described.layers)}",
            remedy="Meta's code takes [2, 5, 8, 11] of 12 blocks and [4, 11, 17, 23] of 24; of a ConvNeXt [0, 1, 2, 3]",
        )
    if any(name.startswith("reassemble_blocks.readout_projects") for name in found):
        raise HeadError(
            f"{shown(where)} is a depth head that reads each layer's CLS too.",
            evidence="it has reassemble_blocks.readout_projects (use_cls_token, as CHMv2's)",
            remedy="edgec's graph gives CLS of the last block alone: train the head without it",
        )

    def dims(name: str, count: int) -> Shape:
        shape = found.get(name, ())
        if len(shape) != count or 0 in shape:
            raise HeadError(
                f"{shown(where)} is no DPT depth head.", evidence=(f"no usable tensor {name}", f"there are: {listed(found)}")
            )
        return shape

    projects = [dims(f"reassemble_blocks.projects.{index}.conv.weight", 4)[:2] for index in range(MAPS)]
    width = dims("convs.0.conv.weight", 4)[0]
    middle, hidden = dims("conv_depth.head.0.weight", 4)[0], dims("conv_depth.head.2.weight", 4)[0]
    bins = dims("conv_depth.head.4.weight", 4)[0]
    expected: dict[str, Shape] = {}
    for index, (out, into) in enumerate(projects):
        expected |= _convolution(f"reassemble_blocks.projects.{index}.conv", (out, into, 1, 1))
        expected[f"convs.{index}.conv.weight"] = (width, out, 3, 3)
        expected |= _convolution(f"fusion_blocks.{index}.project.conv", (width, width, 1, 1))
        for unit in (1, 2) if index else (2,):
            for part in (1, 2):
                name = f"fusion_blocks.{index}.res_conv_unit{unit}.conv{part}.conv"
                expected |= _convolution(name, (width, width, 3, 3), bias=f"{name}.bias" in found)
        if f"reassemble_blocks.batchnorm_layers.{index}.weight" in found:
            parts = ("weight", "bias", "running_mean", "running_var")
            expected |= {f"reassemble_blocks.batchnorm_layers.{index}.{part}": (into,) for part in parts}
    outs = [out for out, _ in projects]
    for index, kernel in ((0, 4), (1, 2), (3, 3)):
        expected |= _convolution(f"reassemble_blocks.resize_layers.{index}", (outs[index], outs[index], kernel, kernel))
    if "project.conv.weight" in found:
        expected |= _convolution("project.conv", (width, width, 3, 3))
    expected |= _convolution("conv_depth.head.0", (middle, width, 3, 3))
    expected |= _convolution("conv_depth.head.2", (hidden, middle, 3, 3))
    return expected | _convolution("conv_depth.head.4", (bins, hidden, 1, 1))


def _convolution(name: str, shape: Shape, *, bias: bool = True) -> dict[str, Shape]:
    return {f"{name}.weight": shape} | ({f"{name}.bias": shape[:1]} if bias else {})


def centres(described: Description, bins: int) -> Array:
    """Depths of the bins, [bins]."""
    low, high = described.min_depth, described.max_depth
    if described.bins == "linear":
        return np.linspace(low, high, bins).astype(np.float32)
    return np.exp(np.linspace(np.log(low), np.log(high), bins)).astype(np.float32)


def build_depth(head: Head, builder: Builder) -> str:
    """Depth [N, H, W] of every pixel of the frame, in the unit of `max_depth`."""
    dpt = _Dpt(head, builder)
    grids = {builder.shapes[name][1:3] for name in head.inputs}
    rows, columns = grids.pop() if len(grids) == 1 else (builder.frame[0] // STRIDE, builder.frame[1] // STRIDE)
    maps = [dpt.reassembled(index, name, (rows, columns)) for index, name in enumerate(head.inputs)]
    x = dpt.fused(0, maps[3], None)
    for index in (1, 2, 3):
        x = dpt.fused(index, x, maps[3 - index])
    if "project.conv.weight" in head.weights:
        x = builder.same("Relu", [dpt.convolution(x, "project.conv", pad=1)], "project.relu")
    x = dpt.convolution(x, "conv_depth.head.0", pad=1)
    x = dpt.doubled(x, "conv_depth.upsample")
    x = builder.same("Relu", [dpt.convolution(x, "conv_depth.head.2", pad=1)], "conv_depth.relu")
    x = builder.resize(dpt.depths(dpt.convolution(x, "conv_depth.head.4")), "upsample", builder.frame)
    n = builder.shapes[x][0]
    return builder.node("Reshape", [x, builder.integers(n, *builder.frame)], "depth", (n, *builder.frame))


class _Dpt:
    def __init__(self, head: Head, builder: Builder) -> None:
        self.head, self.builder, self.weights = head, builder, head.weights

    def convolution(self, x: str, name: str, *, pad: int = 0, stride: int = 1) -> str:
        return self._convolved(x, name, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"), pad, stride)

    def _convolved(self, x: str, name: str, weight: Array, bias: Array | None, pad: int = 0, stride: int = 1) -> str:
        n, _, rows, columns = self.builder.shapes[x]
        out, kernel = weight.shape[0], weight.shape[-1]
        size = [(side + 2 * pad - kernel) // stride + 1 for side in (rows, columns)]
        names = [self.builder.constant(f"{name}.weight", weight)]
        names += [] if bias is None else [self.builder.constant(f"{name}.bias", bias)]
        attributes = {"kernel_shape": [kernel] * 2, "pads": [pad] * 4, "strides": [stride] * 2}
        return self.builder.node("Conv", [x, *names], name, (n, out, size[0], size[1]), **attributes)

    def _spread(self, x: str, name: str, factor: int) -> str:
        """A transposed convolution whose kernels lie side by side."""
        n, width, rows, columns = self.builder.shapes[x]
        names = [self.builder.constant(f"{name}.{part}", self.weights[f"{name}.{part}"]) for part in ("weight", "bias")]
        attributes = {"kernel_shape": [factor] * 2, "strides": [factor] * 2}
        shape = (n, width, rows * factor, columns * factor)
        return self.builder.node("ConvTranspose", [x, *names], name, shape, **attributes)

    def reassembled(self, index: int, name: str, grid: tuple[int, int]) -> str:
        x = self._on_grid(self.builder.channels_first(name, name), name, grid)
        block = f"reassemble_blocks.projects.{index}.conv"
        batch = f"reassemble_blocks.batchnorm_layers.{index}"
        known = {"weight": self.weights[f"{block}.weight"][:, :, 0, 0], "bias": self.weights[f"{block}.bias"]}
        if f"{batch}.weight" in self.weights:
            parts = {"weight": "weight", "bias": "bias", "mean": "running_mean", "variance": "running_var"}
            known |= {f"norm.{ours}": self.weights[f"{batch}.{theirs}"] for ours, theirs in parts.items()}
        weight, bias = folded(known, self.head.description.norm_eps)
        x = self._convolved(x, block, weight[:, :, None, None], bias)
        layer = f"reassemble_blocks.resize_layers.{index}"
        if index < 2:
            x = self._spread(x, layer, 4 >> index)
        elif index == 3:
            x = self.convolution(x, layer, pad=1, stride=2)
        convolved = f"convs.{index}.conv"
        return self._convolved(x, convolved, self.weights[f"{convolved}.weight"], None, pad=1)

    def _on_grid(self, x: str, name: str, grid: tuple[int, int]) -> str:
        rows = self.builder.shapes[x][2]
        if rows > grid[0]:
            return self.builder.shrink(x, f"{name}.shrink", rows // grid[0])
        return self.builder.resize(x, f"{name}.resize", grid)

    def fused(self, index: int, x: str, other: str | None) -> str:
        block = f"fusion_blocks.{index}"
        if other is not None:
            rows, columns = self.builder.shapes[x][2:]
            skip = self._residual(self.builder.resize(other, f"{block}.resize", (rows, columns)), f"{block}.res_conv_unit1")
            x = self.builder.same("Add", [x, skip], f"{block}.add")
        x = self.doubled(self._residual(x, f"{block}.res_conv_unit2"), f"{block}.upsample")
        return self.convolution(x, f"{block}.project.conv")

    def _residual(self, x: str, name: str) -> str:
        y = x
        for part in (1, 2):
            y = self.builder.same("Relu", [y], f"{name}.relu{part}")
            y = self.convolution(y, f"{name}.conv{part}.conv", pad=1)
        return self.builder.same("Add", [y, x], f"{name}.add")

    def doubled(self, x: str, role: str) -> str:
        rows, columns = self.builder.shapes[x][2:]
        return self.builder.resize(x, role, (2 * rows, 2 * columns), corners=True)

    def depths(self, x: str) -> str:
        """From bins, or one number, to depth: [N, 1, rows, columns]."""
        builder, described = self.builder, self.head.description
        n, bins, rows, columns = builder.shapes[x]
        if bins == 1:
            least = builder.number("min_depth", described.min_depth)
            return builder.same("Add", [builder.same("Relu", [x], "bins.relu"), least], "bins.depth")
        found = centres(described, bins).reshape(1, bins, 1, 1)
        if described.weighting == "softmax":
            weights = builder.same("Softmax", [x], "bins.softmax", axis=1)
            return self._convolved(weights, "bins.depth", found, None)
        if described.weighting == "sigmoid":
            weights = builder.same("Sigmoid", [x], "bins.sigmoid")
        else:
            weights = builder.same("Add", [builder.same("Relu", [x], "bins.relu"), builder.number("bins.least", 0.1)], "bins.add")
        # Two small convolutions: what bins weigh together is summed like what they say.
        weighed = self._convolved(weights, "bins.weighed", found, None)
        whole = self._convolved(weights, "bins.whole", np.ones_like(found), None)
        return builder.node("Div", [weighed, whole], "bins.depth", (n, 1, rows, columns))
