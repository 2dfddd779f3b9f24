"""Outliers planted into a checkpoint without changing its float32 function, as large models grow them by themselves.

A few channels of each activation are made many times larger and the weights that read them as many times smaller. A tool that
gives an activation one range for all channels loses the others' resolution; one that evens channels out before it does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec.checkpoint import Checkpoint
from edgec.checkpoint.layouts.tables import HUGGINGFACE_CONVNEXT, HUGGINGFACE_VIT
from edgec.model.spec import ConvNextSpec, Spec, VitSpec

if TYPE_CHECKING:
    from torch import Tensor

NORM_FACTORS = (60, 40, 30, 20, 12, 8)
V_FACTORS = (30, 20, 12, 8)


@dataclass(frozen=True)
class Site:
    """`maker` makes the channels, a norm or a projection; `readers` are all that read them, products or a convolution."""

    maker: str
    readers: tuple[str, ...]
    factors: Sequence[int]


def sites(spec: Spec) -> Iterator[Site]:
    """Where channels can be scaled: between each block's norms and what reads them, and between V and the projection behind it.

    A ConvNeXt has the norms of its blocks and those before its strided convolutions. Its stem's norm feeds the residual stream,
    and its last one is the output: nothing behind them could take the inverse.
    """
    if isinstance(spec, VitSpec):
        first = ("mlp.gate", "mlp.up") if spec.mlp == "swiglu" else ("mlp.fc1",)
        for index in range(spec.depth):
            block = f"blocks.{index}"
            yield Site(f"{block}.norm1", tuple(f"{block}.attn.{part}" for part in "qkv"), NORM_FACTORS)
            yield Site(f"{block}.attn.v", (f"{block}.attn.proj",), V_FACTORS)
            yield Site(f"{block}.norm2", tuple(f"{block}.{name}" for name in first), NORM_FACTORS)
        return
    for stage, depth in enumerate(spec.depths):
        if stage > 0:
            yield Site(f"stages.{stage}.downsample_norm", (f"stages.{stage}.downsample",), NORM_FACTORS)
        for index in range(depth):
            block = f"stages.{stage}.blocks.{index}"
            yield Site(f"{block}.norm", (f"{block}.fc1",), NORM_FACTORS)


def plant(checkpoint: Checkpoint, *, seed: int = 0) -> Checkpoint:
    """The same float32 function with outliers: each site has channels of its own, drawn by the seed.

    Products are taken in float64 and rounded once. The name says what was done; the SHA-256 stays the original's.
    """
    random = np.random.default_rng(seed)
    weights = dict(checkpoint.weights)
    for site in sites(checkpoint.spec):
        width = len(weights[f"{site.maker}.bias"])
        channels = random.choice(width, len(site.factors), replace=False)
        scale = np.ones(width)
        scale[channels] = site.factors
        for kind in ("weight", "bias"):
            weights[f"{site.maker}.{kind}"] = _scaled(weights[f"{site.maker}.{kind}"], scale, axis=0)
        for reader in site.readers:
            weights[f"{reader}.weight"] = _scaled(weights[f"{reader}.weight"], 1 / scale, axis=1)
    return replace(checkpoint, name=f"{checkpoint.name} with outliers", weights=weights)


def _scaled(weight: Tensor, scale: np.ndarray[Any, np.dtype[np.float64]], axis: int) -> Tensor:
    import torch

    shape = [-1 if index == axis else 1 for index in range(weight.ndim)]
    return (weight.double() * torch.from_numpy(scale).reshape(shape)).float()


def write_huggingface(checkpoint: Checkpoint, directory: Path) -> Path:
    """The checkpoint as `transformers` writes it, in float32, for edgec and its peers to read the very same file.

    The rotary periods are those of base 100, as `transformers` makes them: raises `ValueError` for any others.
    """
    import torch

    model = _empty_model(checkpoint.spec)
    layout = HUGGINGFACE_VIT if isinstance(checkpoint.spec, VitSpec) else HUGGINGFACE_CONVNEXT
    state = model.state_dict()
    for name, value in checkpoint.weights.items():
        if name == "rope_periods":
            _check_periods(checkpoint.spec, value)
            continue
        stored = layout.stored(name)
        state[stored if stored in state else f"model.{stored}"] = value
    if "embeddings.mask_token" in state:
        state["embeddings.mask_token"] = torch.zeros_like(state["embeddings.mask_token"])
    model.load_state_dict(state)
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    normalisation = {"image_mean": checkpoint.normalisation.mean, "image_std": checkpoint.normalisation.std}
    (directory / "preprocessor_config.json").write_text(json.dumps(normalisation), encoding="utf-8")
    return directory


def _empty_model(spec: Spec) -> Any:
    from transformers import DINOv3ConvNextConfig, DINOv3ConvNextModel, DINOv3ViTConfig, DINOv3ViTModel

    if isinstance(spec, ConvNextSpec):
        depths, widths = list(spec.depths), list(spec.widths)
        return DINOv3ConvNextModel(DINOv3ConvNextConfig(depths=depths, hidden_sizes=widths, layer_norm_eps=spec.norm_eps))
    gated = spec.mlp == "swiglu"
    config = DINOv3ViTConfig(
        hidden_size=spec.width,
        num_hidden_layers=spec.depth,
        num_attention_heads=spec.heads,
        intermediate_size=spec.mlp_width,
        use_gated_mlp=gated,
        hidden_act="silu" if gated else "gelu",
        num_register_tokens=spec.registers,
        patch_size=spec.patch,
        layer_norm_eps=spec.norm_eps,
        key_bias=spec.key_bias,
    )
    return DINOv3ViTModel(config)


def _check_periods(spec: Spec, periods: Tensor) -> None:
    from edgec.model.vit import rope_periods

    assert isinstance(spec, VitSpec)
    if not np.allclose(periods.numpy(), rope_periods(spec.head_width).numpy(), rtol=1e-6):
        raise ValueError("these rotary periods cannot be written in Hugging Face's layout")
