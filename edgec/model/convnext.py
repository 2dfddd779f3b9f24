"""The DINOv3 ConvNeXt, written so that its export is the hub graph: channels-last inside, native LayerNormalization.

Source of the mathematics: ConvNeXt (arXiv 2201.03545) and DINOv3 (arXiv 2508.10104): CLS is the mean of the last feature map,
normalised together with the patches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgec.model.spec import CONVNEXT_KERNEL, ConvNextSpec


class ChannelsFirstNorm(nn.LayerNorm):
    """LayerNorm over the channels of [N, C, H, W].

    Permuting around `functional.layer_norm` exports one LayerNormalization; spelling out mean and variance exports
    ReduceMean/Sub/Pow/Sqrt, which overflows in fp16.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    """A depthwise convolution and an MLP a pixel, around which the input is added."""

    def __init__(self, width: int, eps: float, *, folded: bool) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, CONVNEXT_KERNEL, padding=CONVNEXT_KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.gamma = None if folded else nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same shape."""
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.fc2(functional.gelu(self.fc1(y)))
        if self.gamma is not None:
            y = y * self.gamma
        return x + y.permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class Stage(nn.Module):
    """A convolution that lowers the resolution (to a quarter in the first stage, else to half), and blocks."""

    def __init__(self, spec: ConvNextSpec, index: int, *, folded: bool) -> None:
        super().__init__()
        width = spec.widths[index]
        if index == 0:
            self.downsample = nn.Conv2d(3, width, kernel_size=4, stride=4)
            self.downsample_norm = ChannelsFirstNorm(width, eps=spec.norm_eps)
        else:
            self.downsample = nn.Conv2d(spec.widths[index - 1], width, kernel_size=2, stride=2)
            self.downsample_norm = ChannelsFirstNorm(spec.widths[index - 1], eps=spec.norm_eps)
        self.norm_first = index > 0
        self.blocks = nn.ModuleList(ConvNextBlock(width, spec.norm_eps, folded=folded) for _ in range(spec.depths[index]))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to this stage's channels and resolution."""
        x = self.downsample(self.downsample_norm(x)) if self.norm_first else self.downsample_norm(self.downsample(x))
        for block in self.blocks:
            x = block(x)
        return x


class ConvNext(nn.Module):
    """Normalised pixels, float32 [N, 3, H, W], to named features.

    `folded` says that the blocks' LayerScale is already in the weights (`edgec.model.fold`).
    """

    def __init__(self, spec: ConvNextSpec, *, folded: bool = False) -> None:
        super().__init__()
        self.spec = spec
        self.stages = nn.ModuleList(Stage(spec, index, folded=folded) for index in range(len(spec.depths)))
        self.norm = nn.LayerNorm(spec.widths[-1], eps=spec.norm_eps)

    def forward(self, pixels: Tensor, registers: bool = False, layers: tuple[int, ...] = ()) -> dict[str, Tensor]:
        """`cls` [N, D], `patches` [N, H/32, W/32, D]; on request `patches_k`, the map after stage k (counted from 0) at that
        stage's own resolution and width, normalised for the last stage only, as in the published code. There are no
        registers to give."""
        x, taken = pixels, {}
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in layers:
                image = x.permute(0, 2, 3, 1)
                taken[f"patches_{index}"] = self.norm(image) if index == len(self.stages) - 1 else image
        image = x.permute(0, 2, 3, 1)
        outputs = {"cls": self.norm(image.mean(dim=(1, 2))), "patches": self.norm(image)}
        return outputs | taken
