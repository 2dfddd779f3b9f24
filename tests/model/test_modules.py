"""The modules' inner parts against `transformers`: rotary tables, intermediate layers, and counts of parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgec.model.convnext import ConvNext
from edgec.model.spec import ConvNextSpec, Size, VitSpec, parameters
from edgec.model.vit import VisionTransformer, rope_periods, rope_tables

SMALL = VitSpec(64, 3, 2, 128)
SMALL_CONVNEXT = ConvNextSpec((1, 1, 2, 1), (8, 16, 24, 32))


def randomise(module: nn.Module) -> Any:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return module.eval()


def huggingface_vit(spec: VitSpec) -> Any:
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    config = DINOv3ViTConfig(
        hidden_size=spec.width,
        num_hidden_layers=spec.depth,
        num_attention_heads=spec.heads,
        intermediate_size=spec.mlp_width,
        num_register_tokens=spec.registers,
    )
    return randomise(DINOv3ViTModel(config))


def our_vit(spec: VitSpec, size: Size, theirs: Any) -> VisionTransformer:
    names = (
        ("embeddings.patch_embeddings", "patch_embed"),
        ("embeddings.register_tokens", "registers"),
        ("embeddings.cls_token", "cls_token"),
        ("model.layer", "blocks"),
        ("attention.o_proj", "attn.proj"),
        ("attention.q_proj", "attn.q"),
        ("attention.k_proj", "attn.k"),
        ("attention.v_proj", "attn.v"),
        ("mlp.up_proj", "mlp.fc1"),
        ("mlp.down_proj", "mlp.fc2"),
        ("layer_scale1.lambda1", "ls1"),
        ("layer_scale2.lambda1", "ls2"),
    )
    state: dict[str, Tensor] = {}
    for name, tensor in theirs.state_dict().items():
        if "mask_token" not in name:
            for old, new in names:
                name = name.replace(old, new)
            state[name] = tensor
    module = VisionTransformer(spec, size, rope_periods(spec.head_width))
    module.load_state_dict(state)
    return module.eval()


@pytest.mark.parametrize("size", [Size(224, 224), Size(480, 640), Size(16, 1280)])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_rotary_tables_are_those_of_transformers(size: Size, heads: int) -> None:
    spec = VitSpec(64, 1, heads, 64)
    theirs = huggingface_vit(spec).rope_embeddings(torch.zeros(1, 3, size.height, size.width))
    cos, sin = rope_tables(spec, size, rope_periods(spec.head_width))
    for ours, expected, unturned in ((cos, theirs[0], 1.0), (sin, theirs[1], 0.0)):
        torch.testing.assert_close(ours[0, 0, 5:], expected, atol=2e-5, rtol=0)
        assert torch.equal(ours[0, 0, :5], torch.full((5, spec.head_width), unturned))


def test_there_is_a_period_for_every_four_channels() -> None:
    for head_width in range(4, 1028, 4):
        periods = rope_periods(head_width)
        assert len(periods) == head_width // 4
        assert periods[0] == 1
        assert periods[-1] < 100


def test_intermediate_layers_are_transformers_hidden_states_through_the_last_norm() -> None:
    theirs, size = huggingface_vit(SMALL), Size(64, 96)
    pixels = torch.randn(2, 3, size.height, size.width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = theirs(pixels, output_hidden_states=True).hidden_states
        ours = our_vit(SMALL, size, theirs)(pixels, registers=True, layers=(0, 1, 2))
        for index in range(SMALL.depth):
            expected = theirs.norm(hidden[index + 1])[:, 5:].reshape(2, 4, 6, 64)
            torch.testing.assert_close(ours[f"patches_{index}"], expected, atol=1e-4, rtol=0)
    assert torch.equal(ours["patches_2"], ours["patches"])
    assert set(ours) == {"cls", "patches", "registers", "patches_0", "patches_1", "patches_2"}


def test_intermediate_maps_of_the_convnext() -> None:
    from transformers import DINOv3ConvNextConfig, DINOv3ConvNextModel

    config = DINOv3ConvNextConfig(depths=list(SMALL_CONVNEXT.depths), hidden_sizes=list(SMALL_CONVNEXT.widths))
    theirs = randomise(DINOv3ConvNextModel(config))
    ours = ConvNext(SMALL_CONVNEXT).eval()
    names = {"depthwise_conv": "dwconv", "layer_norm": "norm", "pointwise_conv1": "fc1", "pointwise_conv2": "fc2"}
    state = {}
    for name, tensor in theirs.state_dict().items():
        parts = name.removeprefix("model.").split(".")
        if "downsample_layers" in parts:
            conv_first = parts[1] == "0"
            which = "downsample" if (parts[3] == "0") == conv_first else "downsample_norm"
            parts = [*parts[:2], which, *parts[4:]]
        state[".".join(names.get(part, part) for part in parts).replace("layers", "blocks")] = tensor
    ours.load_state_dict(state)
    pixels = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = theirs(pixels, output_hidden_states=True).hidden_states
        features = ours(pixels, layers=(0, 1, 2, 3))
    for index in range(3):
        torch.testing.assert_close(features[f"patches_{index}"], hidden[index + 1].permute(0, 2, 3, 1), atol=1e-4, rtol=1e-5)
    assert torch.equal(features["patches_3"], features["patches"])
    assert features["patches_0"].shape == (1, 16, 24, 8)


@pytest.mark.parametrize(
    "spec", [SMALL, VitSpec(64, 2, 1, 96, "swiglu", registers=2, key_bias=True, separate_cls_norm=True), SMALL_CONVNEXT]
)
def test_parameters_are_counted_as_the_module_has_them(spec: VitSpec | ConvNextSpec) -> None:
    size = Size(16, 16)
    module = VisionTransformer(spec, size, rope_periods(spec.head_width)) if isinstance(spec, VitSpec) else ConvNext(spec)
    assert sum(parameter.numel() for parameter in module.parameters()) == parameters(spec)
