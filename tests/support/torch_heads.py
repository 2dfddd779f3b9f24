"""Heads in PyTorch that use what people use, as both of its exporters write them.

Each reads `cls` [N, 64], `patches` [N, 4, 6, 64], or both in that order.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

WIDTH = 64
GRID = (4, 6)


class Made(nn.Module):
    """A function of the features, with the modules that it needs."""

    def __init__(self, reads: str, function: Callable[..., Tensor], **parts: Any) -> None:
        super().__init__()
        self.reads, self.function = reads.split(), function
        for name, part in parts.items():
            if isinstance(part, Tensor):
                self.register_buffer(name, part)
            else:
                self.add_module(name, part)

    def forward(self, *features: Tensor) -> Tensor:
        return self.function(self, *features)


def planes(patches: Tensor) -> Tensor:
    return patches.permute(0, 3, 1, 2)


def over_maps(part: nn.Module, channels: int = 8) -> Made:
    return Made("patches", lambda m, p: m.part(m.conv(planes(p))), conv=nn.Conv2d(WIDTH, channels, 1), part=part)


def of_patches(function: Callable[[Tensor], Tensor]) -> Made:
    return Made("patches", lambda _, p: function(p))


def resized(**said: Any) -> Made:
    return Made("patches", lambda m, p: F.interpolate(m.conv(planes(p)), **said), conv=nn.Conv2d(WIDTH, 3, 1))


def sampled(**said: Any) -> Made:
    y, x = torch.meshgrid(torch.linspace(-0.9, 1.1, 5), torch.linspace(-1, 1, 7), indexing="ij")
    grid = torch.stack([x, y], -1)[None]
    return Made("patches", lambda m, p: F.grid_sample(planes(p), m.grid.expand(p.shape[0], -1, -1, -1), **said), grid=grid)


def best_tokens(patches: Tensor) -> Tensor:
    tokens = patches.flatten(1, 2)
    best = tokens.norm(dim=-1).topk(4, 1).indices
    return tokens.gather(1, best[..., None].expand(-1, -1, tokens.shape[-1])).mean(1)


def assigned(patches: Tensor) -> Tensor:
    changed = patches.clone()
    changed[:, 0] = 0.0
    return changed


def pooled(module: Any, patches: Tensor) -> Tensor:
    tokens = patches.flatten(1, 2)
    return module.attention(module.query.expand(tokens.shape[0], -1, -1), tokens, tokens)[0]


def heads() -> dict[str, Made]:
    """Each with weights of its own, the same every time."""
    torch.manual_seed(0)
    linear, conv = nn.Linear(WIDTH, 5, bias=False), nn.Conv2d
    places = torch.tensor([0, 3, 5, 1])
    broadcast = lambda c, p: torch.cat([p, c[:, None, None, :].expand(-1, p.shape[1], p.shape[2], -1)], -1)  # noqa: E731
    found = {
        "normalize": Made("cls", lambda _, c: F.normalize(c, dim=-1)),
        "normalize_maps": of_patches(lambda p: F.normalize(planes(p), dim=1)),
        "prototypes": Made("cls", lambda m, c: F.linear(F.normalize(c, dim=-1), F.normalize(m.fc.weight, dim=-1)), fc=linear),
        "cosine": Made("cls patches", lambda _, c, p: F.cosine_similarity(p, c[:, None, None, :].expand_as(p), dim=-1)),
        "expand": Made("cls patches", lambda _, c, p: broadcast(c, p)),
        "repeat": Made("cls patches", lambda _, c, p: torch.cat([p, c[:, None, None, :].repeat(1, *GRID, 1)], -1)),
        "interleave": of_patches(lambda p: p.repeat_interleave(2, dim=1)),
        "index": Made("patches", lambda m, p: p.flatten(1, 2)[:, m.places], places=places),
        "index_two": Made("patches", lambda m, p: p[:, m.places[:2], m.places[1:3]], places=places),
        "index_select": Made("patches", lambda m, p: p.index_select(-1, m.places), places=places),
        "gather": Made(
            "patches", lambda m, p: p.gather(3, m.places.view(1, 1, 1, 4).expand(p.shape[0], *GRID, 4)), places=places
        ),
        "best_tokens": of_patches(best_tokens),
        "slices": of_patches(lambda p: p[:, ::2, :, ::3].flip(2)),
        "grid": sampled(align_corners=False),
        "grid_border": sampled(padding_mode="border", align_corners=True),
        "grid_nearest": sampled(mode="nearest", padding_mode="border", align_corners=True),
        "grid_reflection": sampled(padding_mode="reflection", align_corners=False),
        "deformed": Made(
            "patches",
            lambda m, p: F.grid_sample(planes(p), m.conv(planes(p)).tanh().permute(0, 2, 3, 1), align_corners=False),
            conv=conv(WIDTH, 2, 1),
        ),
        "pixel_shuffle": over_maps(nn.PixelShuffle(2)),
        "pixel_unshuffle": over_maps(nn.PixelUnshuffle(2)),
        "mish": over_maps(nn.Mish()),
        "hardswish": over_maps(nn.Hardswish()),
        "hardsigmoid": over_maps(nn.Hardsigmoid()),
        "silu": over_maps(nn.SiLU()),
        "softplus": over_maps(nn.Softplus(beta=2)),
        "leaky": over_maps(nn.LeakyReLU(0.2)),
        "elu": over_maps(nn.ELU()),
        "celu": over_maps(nn.CELU(0.7)),
        "selu": over_maps(nn.SELU()),
        "prelu": over_maps(nn.PReLU(8)),
        "gelu": over_maps(nn.GELU()),
        "gelu_tanh": over_maps(nn.GELU("tanh")),
        "softsign": over_maps(nn.Softsign()),
        "log_softmax": over_maps(nn.LogSoftmax(1)),
        "group_norm": over_maps(nn.GroupNorm(4, 8)),
        "instance_norm": over_maps(nn.InstanceNorm2d(8, affine=True)),
        "batch_norm": over_maps(nn.BatchNorm2d(8)),
        "layer_norm_2d": over_maps(nn.LayerNorm((8, *GRID))),
        "glu": over_maps(nn.GLU(1)),
        "mean_pool": over_maps(nn.AdaptiveAvgPool2d(1)),
        "mean_pool_2": over_maps(nn.AdaptiveAvgPool2d(2)),
        "ceil_pool": over_maps(nn.AvgPool2d(4, stride=3, ceil_mode=True)),
        "reflection": over_maps(nn.ReflectionPad2d(1)),
        "replication": over_maps(nn.ReplicationPad2d(1)),
        "zeros": over_maps(nn.ZeroPad2d((1, 2, 0, 1))),
        "circular": over_maps(nn.CircularPad2d(1)),
        "spread": over_maps(nn.ConvTranspose2d(8, 4, 2, 2)),
        "spread_more": over_maps(nn.ConvTranspose2d(8, 4, 3, 2, 1, output_padding=1)),
        "padded_same": over_maps(conv(8, 8, 3, padding="same")),
        "bilinear": resized(scale_factor=2, mode="bilinear"),
        "bilinear_corners": resized(size=(32, 48), mode="bilinear", align_corners=True),
        "nearest": resized(size=(7, 9), mode="nearest"),
        "bicubic": resized(scale_factor=2, mode="bicubic"),
        "frame": resized(size=(64, 96), mode="bilinear"),
        "view": Made("patches", lambda m, p: m.fc(p.reshape(p.shape[0], -1)), fc=nn.Linear(24 * WIDTH, 5)),
        "sizes": of_patches(lambda p: planes(p).reshape(p.size(0), p.size(3), -1).transpose(1, 2).reshape(p.size(0), *GRID, -1)),
        "movedim": of_patches(lambda p: p.movedim(-1, 1)),
        "where": of_patches(lambda p: torch.where(p > 0, p, p * 0.1)),
        "masked": of_patches(lambda p: p.masked_fill(p < 0, -1.0)),
        "assigned": of_patches(assigned),
        "clamp": of_patches(lambda p: p.clamp(-0.5, 0.5)),
        "einsum": Made("cls patches", lambda _, c, p: torch.einsum("nhwd,nd->nhw", p, c)),
        "einsum_classes": Made("patches", lambda m, p: torch.einsum("nhwd,kd->nkhw", p, m.fc.weight), fc=linear),
        "topk": Made("cls", lambda m, c: m.fc(c).topk(3).values, fc=linear),
        "argmax": over_maps(nn.Identity()),
        "logsumexp": of_patches(lambda p: p.logsumexp(-1)),
        "cumsum": of_patches(lambda p: p.cumsum(1)),
        "gem": of_patches(lambda p: planes(p).clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)),
        "chunks": of_patches(lambda p: p.chunk(2, -1)[0] * p.chunk(2, -1)[1]),
        "coordinates": of_patches(
            lambda p: torch.cat([planes(p), torch.linspace(-1, 1, 4).view(1, 1, -1, 1).expand(p.shape[0], 1, *GRID)], 1)
        ),
        "attention": Made(
            "patches", pooled, attention=nn.MultiheadAttention(WIDTH, 2, batch_first=True), query=torch.randn(1, 2, WIDTH)
        ),
        "lstm": Made("patches", lambda m, p: m.part(p.flatten(1, 2))[0], part=nn.LSTM(WIDTH, 8, batch_first=True)),
    }
    found["argmax"].function = lambda m, p: m.conv(planes(p)).argmax(1)
    for head in found.values():
        head.requires_grad_(False).eval()
    return found


def export(head: Made, path: Path, *, dynamo: bool, opset: int) -> Path:
    """As its authors would, for fixed shapes."""
    given = {"cls": torch.randn(1, WIDTH), "patches": torch.randn(1, *GRID, WIDTH)}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")  # PyTorch's, of its own older exporter
        torch.onnx.export(
            head,
            tuple(given[name] for name in head.reads),
            str(path),
            dynamo=dynamo,
            opset_version=opset,
            input_names=head.reads,
            output_names=["out"],
            **({"external_data": False} if dynamo else {}),
        )
    return path
