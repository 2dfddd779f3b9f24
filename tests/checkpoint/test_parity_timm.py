"""What we compute from timm's names against timm itself."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from edgec.checkpoint import read
from edgec.model.spec import Size, VitSpec

VITS = {
    "vit_tiny_patch16_dinov3_qkvb": "vitt16",
    "vit_small_patch16_dinov3": "vits16",
    "vit_small_patch16_dinov3_qkvb": "vits16",
    "vit_small_plus_patch16_dinov3": "vits16plus",
    "vit_small_plus_patch16_dinov3_qkvb": "vits16plus",
    "vit_base_patch16_dinov3": "vitb16",
    "vit_large_patch16_dinov3_qkvb": "vitl16",
    "vit_huge_plus_patch16_dinov3": "vith16plus",
}


def vit_features(model: nn.Module, pixels: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        tokens = model.forward_features(pixels)
    grid = (pixels.shape[2] // 16, pixels.shape[3] // 16)
    return {"cls": tokens[:, 0], "registers": tokens[:, 1:5], "patches": tokens[:, 5:].unflatten(1, grid)}


def convnext_features(model: nn.Module, pixels: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        image = model.forward_features(pixels)
        return {"cls": model.forward_head(image, pre_logits=True), "patches": model.head.norm(image).permute(0, 2, 3, 1)}


@pytest.mark.parametrize("name", VITS)
def test_every_vit_agrees_with_timm(name: str, timm: ModuleType, kit: SimpleNamespace, tmp_path: Path) -> None:
    spec = kit.TRUE_WIDTHS[VITS[name]]
    model = kit.randomise(timm.create_model(name, pretrained=False, num_classes=0, depth=min(spec.depth, 3)))
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    checkpoint = read(str(tmp_path / "weights.safetensors"))
    assert isinstance(checkpoint.spec, VitSpec)
    assert checkpoint.form == "timm"
    assert (checkpoint.spec.width, checkpoint.spec.heads, checkpoint.spec.mlp) == (spec.width, spec.heads, spec.mlp)
    assert any("attn.qkv.bias" in finding.text for finding in checkpoint.findings) == ("qkvb" not in name)
    for size in kit.SIZES:
        pixels = kit.pixels(size)
        kit.assert_same(kit.our_features(checkpoint, pixels), vit_features(model, pixels))


@pytest.mark.parametrize("arch", ["tiny", "small", "base", "large"])
def test_every_convnext_agrees_with_timm(arch: str, timm: ModuleType, kit: SimpleNamespace, tmp_path: Path) -> None:
    spec = kit.TRUE_WIDTHS[f"convnext_{arch}"]
    name = f"convnext_{arch}.dinov3_lvd1689m"
    model = kit.randomise(timm.create_model(name, pretrained=False, num_classes=0, depths=spec.depths))
    save_file(model.state_dict(), tmp_path / f"{name}.safetensors")
    checkpoint = read(str(tmp_path / f"{name}.safetensors"))
    assert (checkpoint.spec, checkpoint.form) == (spec, "timm")
    assert checkpoint.normalisation.name == "LVD-1689M"
    assert checkpoint.licence.spdx == "LicenseRef-DINOv3"
    for size in kit.SIZES:
        pixels = kit.pixels(size)
        kit.assert_same(kit.our_features(checkpoint, pixels), convnext_features(model, pixels))


def test_a_classifier_is_ignored_with_a_note(timm: ModuleType, kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.randomise(timm.create_model("vit_tiny_patch16_dinov3_qkvb", pretrained=False, num_classes=7, depth=1))
    torch.save({"model": model.state_dict()}, tmp_path / "weights.pth")
    checkpoint = read(str(tmp_path / "weights.pth"))
    assert any(finding.level == "note" and "head.weight" in finding.text for finding in checkpoint.findings)
    pixels = kit.pixels(Size(32, 64))
    kit.assert_same(kit.our_features(checkpoint, pixels), vit_features(model, pixels))
