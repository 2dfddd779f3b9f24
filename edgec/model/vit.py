"""The DINOv3 vision transformer for one frame size, written so that its export is the hub graph.

Names of weights are edgec's own (`edgec/checkpoint` translates every other form into them); shapes are PyTorch's.
Source of the mathematics: DINOv3 (arXiv 2508.10104), RoPE over patch centres as in section 3 and the published code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgec.model.spec import Size, VitSpec, grid


def rope_periods(head_width: int, base: float = 100.0) -> Tensor:
    """The wavelengths of the rotary embedding, float32 [head_width / 4], in units of half the frame."""
    # Cut to length: for some widths (196, 392, …) rounding makes the range one element too long.
    exponents = torch.arange(0, 1, 4 / head_width, dtype=torch.float32)[: head_width // 4]
    return torch.as_tensor(base**exponents)


def rope_tables(spec: VitSpec, size: Size, periods: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine for every token, each float32 [1, 1, tokens, head_width].

    CLS and registers are not rotated: their rows are one and zero, so that one multiplication serves all tokens.
    """
    rows, columns = grid(spec, size)
    # On the CPU explicitly: `assemble` builds modules on the device meta, which has no values, and these are needed.
    y = 2 * (torch.arange(rows, dtype=torch.float32, device="cpu") + 0.5) / rows - 1
    x = 2 * (torch.arange(columns, dtype=torch.float32, device="cpu") + 0.5) / columns - 1
    centres = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).reshape(rows * columns, 2)
    half = (2 * math.pi * centres[:, :, None] / periods.float()).flatten(1)
    prefix = (1 + spec.registers, half.shape[1])
    cos = torch.cat([torch.ones(prefix, device="cpu"), half.cos()])
    sin = torch.cat([torch.zeros(prefix, device="cpu"), half.sin()])
    return torch.cat([cos, cos], dim=-1)[None, None], torch.cat([sin, sin], dim=-1)[None, None]


class Attention(nn.Module):
    """Multi-head self-attention with rotary embeddings. `scale` multiplies the scores; 1 if it is folded into Q."""

    def __init__(self, spec: VitSpec, scale: float) -> None:
        super().__init__()
        self.heads, self.head_width, self.scale = spec.heads, spec.head_width, scale
        self.q = nn.Linear(spec.width, spec.width)
        self.k = nn.Linear(spec.width, spec.width, bias=spec.key_bias)
        self.v = nn.Linear(spec.width, spec.width)
        self.proj = nn.Linear(spec.width, spec.width)

    def split_heads(self, x: Tensor) -> Tensor:
        """[N, T, D] to [N, heads, T, head_width]."""
        return x.reshape(x.shape[0], x.shape[1], self.heads, self.head_width).transpose(1, 2)

    def rotate(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """The rotary embedding of [N, heads, T, head_width]."""
        # Slices and a negated half, rather than a signed sine: runtimes fuse this form into one rotary operation.
        first, second = x[..., : self.head_width // 2], x[..., self.head_width // 2 :]
        return x * cos + torch.cat([-second, first], dim=-1) * sin

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[N, T, D] to the same shape."""
        q = self.rotate(self.split_heads(self.q(x)), cos, sin)
        k = self.rotate(self.split_heads(self.k(x)), cos, sin)
        v = self.split_heads(self.v(x))
        # The products are written out: exporters and TensorRT 10.7 disagree about scaled_dot_product_attention
        # (NVIDIA/TensorRT#4333), and this pattern is what every runtime's attention fusion looks for.
        scores = q @ k.transpose(-2, -1)
        if self.scale != 1.0:
            scores = scores * self.scale
        mixed = scores.softmax(dim=-1) @ v
        return self.proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Two projections with GELU between them."""

    def __init__(self, spec: VitSpec) -> None:
        super().__init__()
        self.fc1 = nn.Linear(spec.width, spec.mlp_width)
        self.fc2 = nn.Linear(spec.mlp_width, spec.width)

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, D] to the same shape."""
        return self.fc2(functional.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class GatedMlp(nn.Module):
    """SwiGLU: one projection gates another."""

    def __init__(self, spec: VitSpec) -> None:
        super().__init__()
        self.gate = nn.Linear(spec.width, spec.mlp_width)
        self.up = nn.Linear(spec.width, spec.mlp_width)
        self.down = nn.Linear(spec.mlp_width, spec.width)

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, D] to the same shape."""
        return self.down(functional.silu(self.gate(x)) * self.up(x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """A transformer block: attention and MLP, each after a norm and added to its input, times LayerScale unless that is
    folded."""

    def __init__(self, spec: VitSpec, *, folded: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(spec.width, eps=spec.norm_eps)
        self.attn = Attention(spec, 1.0 if folded else spec.head_width**-0.5)
        self.norm2 = nn.LayerNorm(spec.width, eps=spec.norm_eps)
        self.mlp = GatedMlp(spec) if spec.mlp == "swiglu" else Mlp(spec)
        self.ls1 = None if folded else nn.Parameter(torch.ones(spec.width))
        self.ls2 = None if folded else nn.Parameter(torch.ones(spec.width))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[N, T, D] to the same shape."""
        update = self.attn(self.norm1(x), cos, sin)
        x = x + (update if self.ls1 is None else update * self.ls1)
        update = self.mlp(self.norm2(x))
        return x + (update if self.ls2 is None else update * self.ls2)  # type: ignore[no-any-return]


class VisionTransformer(nn.Module):
    """Normalised pixels, float32 [N, 3, H, W], to named features.

    `folded` says that LayerScale and the attention's scale are already in the weights (`edgec.model.fold`).
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, spec: VitSpec, size: Size, periods: Tensor, *, folded: bool = False) -> None:
        super().__init__()
        self.spec, self.grid = spec, grid(spec, size)
        self.patch_embed = nn.Conv2d(3, spec.width, kernel_size=spec.patch, stride=spec.patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, spec.width))
        self.registers = nn.Parameter(torch.zeros(1, spec.registers, spec.width))
        self.blocks = nn.ModuleList(Block(spec, folded=folded) for _ in range(spec.depth))
        self.norm = nn.LayerNorm(spec.width, eps=spec.norm_eps)
        self.cls_norm = nn.LayerNorm(spec.width, eps=spec.norm_eps) if spec.separate_cls_norm else None
        cos, sin = rope_tables(spec, size, periods)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, pixels: Tensor, registers: bool = False, layers: tuple[int, ...] = ()) -> dict[str, Tensor]:
        """`cls` [N, D], `patches` [N, H/p, W/p, D]; on request `registers` [N, R, D] and `patches_k`, the patches after
        block k (counted from 0) through the final norm."""
        patches = self.patch_embed(pixels).flatten(2).transpose(1, 2)
        prefix = torch.cat([self.cls_token, self.registers], dim=1).expand(pixels.shape[0], -1, -1)
        x = torch.cat([prefix, patches], dim=1)
        taken: dict[str, Tensor] = {}
        for index, block in enumerate(self.blocks):
            x = block(x, self.cos, self.sin)
            if index in layers:
                taken[f"patches_{index}"] = self._image(self.norm(x))
        normed = self.norm(x)
        special = normed if self.cls_norm is None else self.cls_norm(x[:, : 1 + self.spec.registers])
        outputs = {"cls": special[:, 0], "patches": self._image(normed)}
        if registers:
            outputs["registers"] = special[:, 1 : 1 + self.spec.registers]
        return outputs | taken

    def _image(self, x: Tensor) -> Tensor:
        patches = x[:, 1 + self.spec.registers :]
        return patches.reshape(patches.shape[0], *self.grid, patches.shape[2])
