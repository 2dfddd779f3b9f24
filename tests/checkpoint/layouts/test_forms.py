"""The form is told from the names of the weights, for every model of the family at its full depth."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor

from edgec.checkpoint.layouts.forms import recognise
from edgec.checkpoint.statements import Statements
from edgec.checkpoint.types import Finding
from edgec.checkpoint.weights.backbone import shapes
from edgec.checkpoint.weights.convnext import read_convnext
from edgec.checkpoint.weights.shelf import Shelf
from edgec.checkpoint.weights.vit import read_vit
from edgec.errors import UnknownForm
from edgec.model.spec import FAMILY, Spec

TIMM = {
    "vitt16": "vit_tiny_patch16_dinov3_qkvb",
    "vits16": "vit_small_patch16_dinov3",
    "vits16plus": "vit_small_plus_patch16_dinov3_qkvb",
    "vitb16": "vit_base_patch16_dinov3_qkvb",
    "vitl16": "vit_large_patch16_dinov3",
    "vith16plus": "vit_huge_plus_patch16_dinov3",
    **{f"convnext_{size}": f"convnext_{size}.dinov3_lvd1689m" for size in ("tiny", "small", "base", "large")},
}


class ShapesOnly(Shelf):
    """Checks names and shapes as the real one does, and gives one expanded zero: no model's memory is needed."""

    def take(self, name: str, shape: tuple[int, ...], default: float | None = None) -> Tensor:
        tensor = self.tensors.pop(name, None)
        if tensor is None and default is None:
            self.problems.append(f"{name} is missing")
        if tensor is not None and tensor.shape != shape:
            self.problems.append(f"{name} is {tensor.shape}")
        return torch.zeros(1).expand(shape)

    def take_small(self, name: str) -> Tensor | None:
        tensor = self.tensors.pop(name, None)
        return None if tensor is None else tensor.clone()


def spec_of(state: dict[str, Tensor]) -> tuple[str, Spec]:
    (recognised,) = recognise(state)
    shelf = ShapesOnly({name: state[full] for name, full in recognised.names.items()}, recognised.names)
    findings: list[Finding] = []
    reader = read_vit if recognised.layout.family == "vit" else read_convnext
    backbone = reader(recognised, shelf, Statements(), findings)
    assert not backbone.unknown
    assert backbone.weights.keys() - {"rope_periods"} == shapes(backbone.spec).keys()
    return recognised.layout.form, backbone.spec


@pytest.mark.parametrize("arch", FAMILY)
def test_the_whole_family_under_everyones_names(arch: str, timm: ModuleType, kit: SimpleNamespace) -> None:
    with torch.device("meta"):
        huggingface = kit.huggingface_model(FAMILY[arch], random=False)
        others = timm.create_model(TIMM[arch], pretrained=False, num_classes=0)
    states = {
        "huggingface": huggingface.state_dict(),
        "timm": others.state_dict(),
        "meta": kit.meta_names(huggingface.state_dict()),
    }
    for form, state in states.items():
        small = {name: torch.zeros(1).expand(tensor.shape) for name, tensor in state.items()}
        assert spec_of(small) == (form, FAMILY[arch])


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (("embeddings.position_embeddings", "encoder.layer.0.attention.attention.query.weight"), "DINOv2"),
        (("patch_embed.proj.weight", "pos_embed", "blocks.0.attn.qkv.weight", "blocks.0.ls1.gamma"), "DINOv2"),
        (("embeddings.patch_embeddings.weight", "layer.0.attention.q_proj.lora_A.weight"), "LoRA"),
        (("patch_embed.proj.weight", "reg_token", "rope.freqs"), "rotary frequencies"),
        (("patch_embed.proj.weight", "storage_tokens", "norm.weight"), "RMSNorm"),
        (("conv1.weight", "layer1.0.conv1.weight"), "ResNet"),
        (("dino_head.mlp.0.weight",), "training heads"),
        (("vision.encoder.layers.0.self_attn.q_proj.weight",), "transformer"),
        (("a", "b"), "not the weights of a DINOv3 backbone"),
        (("patch_embed.proj.weight", "blocks.0.attn.qkv.weight"), "not the weights of a DINOv3 backbone"),
    ],
)
def test_other_models_are_named(names: tuple[str, ...], part: str) -> None:
    with pytest.raises(UnknownForm) as caught:
        recognise(names)
    assert part in caught.value.what


def test_an_unknown_form_shows_what_it_has_and_what_was_expected() -> None:
    with pytest.raises(UnknownForm) as caught:
        recognise([f"layer{number}" for number in range(20)])
    assert "20 tensors: layer0, layer1," in str(caught.value)
    assert "and 12 more" in str(caught.value)
    assert "storage_tokens" in str(caught.value)


def test_thousands_of_anchors_are_not_looked_into() -> None:
    names = [f"x{number}.patch_embed.proj.weight" for number in range(20_000)]
    with pytest.raises(UnknownForm):
        recognise(names)
