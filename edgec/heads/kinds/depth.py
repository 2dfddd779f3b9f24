"""DPT depth heads: four maps at four resolutions, fused from the coarsest up, and bins or one number a pixel.

Structure: Vision Transformers for Dense Prediction (arXiv 2103.13413) as in DINOv3's depth evaluation; bins: AdaBins (arXiv
2011.14141). Modules have the names of Meta's (`eval/depth/models/dpt_head.py`), so that its files are read without renaming.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from edgec.errors import HeadError
from edgec.heads.kinds.maps import Antialiased, Bilinear, without_norm
from edgec.heads.kinds.module import HeadModule, Shapes
from edgec.heads.types import Array, Description, Head, Output
from edgec.heads.weights import compare
from edgec.model.spec import ConvNextSpec, Size, Spec
from edgec.text import listed, shown

MAPS = 4
STRIDE = 16
"""Of a ViT's patches. A ConvNeXt's four maps are first resampled to it, as Meta's ConvNeXt does when it replaces a ViT/16."""
WIDEST = 1 << 16
"""The most channels of any map; real heads have far fewer."""
_NORM = ("weight", "bias", "running_mean", "running_var")


class DepthDescription(Description):
    """The fields of depth heads."""

    bins: Literal["linear", "log"] = "linear"
    """How the depths of a depth head's bins are spaced between `min_depth` and `max_depth`."""
    weighting: Literal["linear", "softmax", "sigmoid"] = "linear"
    """How bins are weighted: by max(x, 0) + 0.1, by e^x or by sigmoid(x), each divided by its sum."""
    min_depth: float = Field(default=0.001, gt=0)
    max_depth: float = Field(default=80.0, gt=0)


class Depth(HeadModule):
    """Depth of every pixel of the frame, in the unit of `max_depth`. Weights have Meta's names."""

    kind, gives, described_by = "depth", ("depth",), DepthDescription

    def __init__(self, described: Description, output: Output, shapes: Shapes) -> None:
        super().__init__(described, output, shapes)
        projects = [shapes[f"reassemble_blocks.projects.{index}.conv.weight"] for index in range(MAPS)]
        normed = [f"reassemble_blocks.batchnorm_layers.{index}.weight" in shapes for index in range(MAPS)]
        width, *outs = shapes["convs.0.conv.weight"][0], *(out for out, *_ in projects)
        middle, hidden, bins = (shapes[f"conv_depth.head.{index}.weight"][0] for index in (0, 2, 4))
        self.on_grid, self.upsample = Antialiased(), Bilinear()
        self.reassemble_blocks = _Reassembly([(out, into) for out, into, *_ in projects], normed, described.norm_eps)
        self.convs = nn.ModuleList(_Named(out, width, 3, bias=False) for out in outs)
        self.fusion_blocks = nn.ModuleList(_Fusion(width, index, shapes) for index in range(MAPS))
        self.project = _Named(width, width, 3) if "project.conv.weight" in shapes else None
        convs = nn.Conv2d(width, middle, 3, padding=1), nn.Conv2d(middle, hidden, 3, padding=1), nn.Conv2d(hidden, bins, 1)
        self.conv_depth = nn.ModuleDict({"head": nn.Sequential(convs[0], _Doubled(), convs[1], nn.ReLU(), convs[2])})
        self.bins = _Bins(_own_fields(described), bins)

    def forward(self, features: Sequence[Tensor], frame: Size) -> Tensor:
        """Depth [N, H, W] from four maps [N, rows, columns, D]."""
        grids = {(x.shape[1], x.shape[2]) for x in features}
        grid = grids.pop() if len(grids) == 1 else (frame.height // STRIDE, frame.width // STRIDE)
        planes = [self.on_grid(x.permute(0, 3, 1, 2), grid) for x in features]
        maps = [conv(x) for conv, x in zip(self.convs, self.reassemble_blocks(planes), strict=True)]
        x = self.fusion_blocks[0](maps[-1], None)
        for index in range(1, MAPS):
            x = self.fusion_blocks[index](x, maps[-1 - index])
        if self.project is not None:
            x = self.project(x).relu()
        depth: Tensor = self.upsample(self.bins(self.conv_depth["head"](x)), (frame.height, frame.width))
        return depth.flatten(0, 1)

    @classmethod
    def recognises(cls, names: Set[str], path: Path) -> bool:
        """By Meta's names; but it needs a description."""
        if any(name.startswith("reassemble_blocks.") for name in names):
            raise HeadError(
                f"{shown(path)} is a DPT depth head, and nothing says which layers it reads.",
                evidence="Meta's own are for ViT-L/16 ([4, 11, 17, 23], depths 0.001 to 100) and 7B",
                remedy=f"write {shown(path.with_suffix('.toml').name)}: "
                'kind = "depth", layers = […], min_depth = …, max_depth = …',
            )
        return False

    @classmethod
    def take(cls, described: Description, arrays: dict[str, Array], where: str) -> tuple[dict[str, Array], list[str]]:
        """All tensors of the module that the shapes describe, except its own constants."""
        shapes = {name: value.shape for name, value in arrays.items()}
        _check_dimensions(described, shapes, where)
        with torch.device("meta"):
            state = cls(described, "depth", shapes).state_dict()
        constants = {f"bins.{name}.weight" for name in ("depth", "weighed", "whole")}
        names = [name for name in state if name not in constants and not name.endswith("num_batches_tracked")]
        return arrays, compare(arrays, {name: tuple(state[name].shape) for name in names})

    @classmethod
    def folded(cls, described: Description, weights: Mapping[str, Array]) -> Mapping[str, Array]:
        """The maps' batch norms go into the convolutions after them."""
        folded = dict(weights)
        for index in range(MAPS):
            norm, conv = f"reassemble_blocks.batchnorm_layers.{index}", f"reassemble_blocks.projects.{index}.conv"
            if f"{norm}.weight" in folded:
                four = {part: folded.pop(f"{norm}.{part}") for part in _NORM}
                weight, bias = folded[f"{conv}.weight"][:, :, 0, 0], folded[f"{conv}.bias"]
                weight, folded[f"{conv}.bias"] = without_norm(weight, bias, four, described.norm_eps, _NORM)
                folded[f"{conv}.weight"] = weight[:, :, None, None]
        return folded

    @classmethod
    def state(cls, described: Description, weights: Mapping[str, Array]) -> Mapping[str, Array]:
        """With the constants of the bins."""
        return {**weights, **_Bins.constants(_own_fields(described), cls.channels(weights))}

    @classmethod
    def channels(cls, weights: Mapping[str, Array]) -> int:
        """The number of bins; 1 if depth is computed directly."""
        return len(weights["conv_depth.head.4.weight"])

    @classmethod
    def widths(cls, head: Head) -> list[int]:
        """One number for each of the four maps."""
        return [head.weights[f"reassemble_blocks.projects.{index}.conv.weight"].shape[1] for index in range(MAPS)]

    @classmethod
    def problems(cls, described: Description) -> list[str]:
        """The depths must be a range."""
        low, high = _own_fields(described).min_depth, _own_fields(described).max_depth
        return [f"min_depth {low:g} is not below max_depth {high:g}"] if low >= high else []

    @classmethod
    def refusal(cls, head: Head, spec: Spec) -> str:
        """Of a ConvNeXt, the four maps must be those of the four stages."""
        layers = list(head.description.layers)
        if isinstance(spec, ConvNextSpec) and layers != [0, 1, 2, 3]:
            return f"it reads the stages {layers}; a depth head needs [0, 1, 2, 3]"
        return ""


class _Named(nn.Module):
    """A convolution that keeps the map's size, called `conv` inside a module, as in Meta's code."""

    def __init__(self, into: int, out: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, kernel, padding=kernel // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        convolved: Tensor = self.conv(x)
        return convolved


class _Doubled(Bilinear):
    def __init__(self) -> None:
        super().__init__(corners=True)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        return super().forward(x, (2 * x.shape[2], 2 * x.shape[3]))


class _Reassembly(nn.Module):
    """The four maps, [N, D, rows, columns] each, at four, two, one and half times the resolution."""

    def __init__(self, projects: Sequence[tuple[int, int]], normed: Sequence[bool], eps: float) -> None:
        super().__init__()
        outs, intos = zip(*projects, strict=True)
        self.projects = nn.ModuleList(_Named(into, out, 1) for out, into in projects)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(outs[0], outs[0], 4, stride=4),
                nn.ConvTranspose2d(outs[1], outs[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(outs[3], outs[3], 3, stride=2, padding=1),
            ]
        )
        norms = zip(normed, intos, strict=True)
        self.batchnorm_layers = nn.ModuleList(nn.BatchNorm2d(into, eps=eps) if norm else nn.Identity() for norm, into in norms)

    def forward(self, planes: Sequence[Tensor]) -> list[Tensor]:
        steps = zip(self.batchnorm_layers, self.projects, self.resize_layers, planes, strict=True)
        return [resize(project(norm(x))) for norm, project, resize, x in steps]


class _Unit(nn.Module):
    def __init__(self, width: int, name: str, shapes: Shapes) -> None:
        super().__init__()
        biased = (f"{name}.conv{part}.conv.bias" in shapes for part in (1, 2))
        self.conv1, self.conv2 = (_Named(width, width, 3, bias=bias) for bias in biased)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.conv1(x.relu()).relu())
        return y + x


class _Fusion(nn.Module):
    """Adds the next finer map to what is fused already, and doubles the resolution. The first one has nothing to add."""

    def __init__(self, width: int, index: int, shapes: Shapes) -> None:
        super().__init__()
        self.resize, self.upsample = Bilinear(), _Doubled()
        self.res_conv_unit1 = _Unit(width, f"fusion_blocks.{index}.res_conv_unit1", shapes) if index else None
        self.res_conv_unit2 = _Unit(width, f"fusion_blocks.{index}.res_conv_unit2", shapes)
        self.project = _Named(width, width, 1)

    def forward(self, x: Tensor, other: Tensor | None) -> Tensor:
        if self.res_conv_unit1 is not None and other is not None:
            x = x + self.res_conv_unit1(self.resize(other, (x.shape[2], x.shape[3])))
        fused: Tensor = self.project(self.upsample(self.res_conv_unit2(x)))
        return fused


class _Bins(nn.Module):
    """Bins, or one number, to depth: [N, bins, rows, columns] to [N, 1, rows, columns]."""

    depth: nn.Conv2d
    weighed: nn.Conv2d
    whole: nn.Conv2d

    def __init__(self, described: DepthDescription, count: int) -> None:
        super().__init__()
        self.described = described
        for name in self.constants(described, count):
            self.add_module(name.split(".")[1], nn.Conv2d(count, 1, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1:
            return x.relu() + self.described.min_depth
        depth: Tensor
        if self.described.weighting == "softmax":
            depth = self.depth(x.softmax(dim=1))
            return depth
        weights = x.sigmoid() if self.described.weighting == "sigmoid" else x.relu() + 0.1
        # Two 1x1 convolutions, so that the weighted sum and the sum of weights are accumulated in the same way.
        depth = self.weighed(weights) / self.whole(weights)
        return depth

    @staticmethod
    def constants(described: DepthDescription, count: int) -> dict[str, Array]:
        """The convolutions' weights by their names within the head: depths of the bins, and ones."""
        if count == 1:
            return {}
        low, high = described.min_depth, described.max_depth
        linear = described.bins == "linear"
        depths = np.linspace(low, high, count) if linear else np.exp(np.linspace(np.log(low), np.log(high), count))
        centres = depths.astype(np.float32).reshape(1, count, 1, 1)
        if described.weighting == "softmax":
            return {"bins.depth.weight": centres}
        return {"bins.weighed.weight": centres, "bins.whole.weight": np.ones_like(centres)}


def _own_fields(described: Description) -> DepthDescription:
    return cast(DepthDescription, described)


def _check_dimensions(described: Description, shapes: Shapes, where: str) -> None:
    """Raises `HeadError` if the shapes do not give the head's dimensions, or if it reads what the hub graph does not give."""
    if len(described.layers) != MAPS:
        raise HeadError(
            f"{shown(where)} must say which four layers the depth head reads.",
            evidence=f"layers is {list(described.layers)}",
            remedy="Meta's code takes [2, 5, 8, 11] of 12 blocks and [4, 11, 17, 23] of 24; of a ConvNeXt [0, 1, 2, 3]",
        )
    if any(name.startswith("reassemble_blocks.readout_projects") for name in shapes):
        raise HeadError(
            f"{shown(where)} is a depth head that reads each layer's CLS too.",
            evidence="it has reassemble_blocks.readout_projects (use_cls_token, as CHMv2's)",
            remedy="edgec's graph gives CLS of the last block alone: train the head without it",
        )
    names = [f"reassemble_blocks.projects.{index}.conv.weight" for index in range(MAPS)]
    for name in (*names, "convs.0.conv.weight", *(f"conv_depth.head.{index}.weight" for index in (0, 2, 4))):
        shape = shapes.get(name, ())
        if len(shape) != 4 or not all(0 < side <= WIDEST for side in shape):
            evidence = (f"no usable tensor {name}", f"there are: {listed(shapes)}")
            raise HeadError(f"{shown(where)} is not a DPT depth head.", evidence=evidence)
