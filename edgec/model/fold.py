"""Weights for deployment: everything that is linear and constant is folded into the weights before or after it.

Products are computed in float64 and rounded once, so that folding costs no more than one rounding to float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from edgec.model.normalisation import Normalisation
from edgec.model.spec import Spec, VitSpec


def fold(spec: Spec, weights: Mapping[str, Tensor], normalisation: Normalisation) -> dict[str, Tensor]:
    """Weights for the folded modules: LayerScale in the projection before it, the attention's scale in Q, and the camera's
    0..255 pixels, mean and standard deviation in the first convolution, which then takes raw pixels.
    """
    folded = dict(weights)
    if isinstance(spec, VitSpec):
        for index in range(spec.depth):
            block = f"blocks.{index}"
            last = "mlp.down" if spec.mlp == "swiglu" else "mlp.fc2"
            _scale_rows(folded, f"{block}.attn.proj", folded.pop(f"{block}.ls1"))
            _scale_rows(folded, f"{block}.{last}", folded.pop(f"{block}.ls2"))
            scale = torch.full((spec.width,), spec.head_width**-0.5, dtype=torch.float64)
            _scale_rows(folded, f"{block}.attn.q", scale)
        _fold_pixels(folded, "patch_embed", normalisation)
        return folded
    for stage, depth in enumerate(spec.depths):
        for index in range(depth):
            block = f"stages.{stage}.blocks.{index}"
            _scale_rows(folded, f"{block}.fc2", folded.pop(f"{block}.gamma"))
    _fold_pixels(folded, "stages.0.downsample", normalisation)
    return folded


def _scale_rows(weights: dict[str, Tensor], name: str, scale: Tensor) -> None:
    scale = scale.double()
    weights[f"{name}.weight"] = (weights[f"{name}.weight"].double() * scale[:, None]).float()
    weights[f"{name}.bias"] = (weights[f"{name}.bias"].double() * scale).float()


def _fold_pixels(weights: dict[str, Tensor], name: str, normalisation: Normalisation) -> None:
    weight, bias = weights[f"{name}.weight"].double(), weights[f"{name}.bias"].double()
    mean = torch.tensor(normalisation.mean, dtype=torch.float64)[None, :, None, None]
    std = torch.tensor(normalisation.std, dtype=torch.float64)[None, :, None, None]
    weights[f"{name}.weight"] = (weight / (255 * std)).float()
    weights[f"{name}.bias"] = (bias - (weight * mean / std).sum(dim=(1, 2, 3))).float()
