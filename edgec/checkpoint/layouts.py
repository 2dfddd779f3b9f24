"""What each form calls edgec's weights. `{}` stands for the number of a block, of a stage and a block in a ConvNeXt.

Source of the names: Meta's published code, `transformers` (DINOv3ViTModel, DINOv3ConvNextModel) and timm (Eva, ConvNeXt).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


@dataclass(frozen=True)
class Layout:
    """`modules` have a weight and a bias each, `parameters` are names as they are; both go from edgec's name to the form's."""

    form: Literal["meta", "huggingface", "timm"]
    family: Literal["vit", "convnext"]
    block: str
    """What every name in a block begins with."""
    modules: Mapping[str, str]
    parameters: Mapping[str, str]
    ignored: re.Pattern[str]
    """Names that belong to the form and are not needed to run it."""
    fused_qkv: bool = False

    def stored(self, name: str) -> str:
        """The form's name of edgec's weight `name`."""
        module, _, kind = name.rpartition(".")
        for table, key, ending in ((self.parameters, name, ""), (self.modules, module, f".{kind}")):
            found = table.get(key) or table.get(_NUMBER.sub("{}", key))
            if found:
                return found.format(*_NUMBER.findall(key)) + ending
        raise KeyError(name)


def _in_blocks(names: Mapping[str, str], ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.{name}": f"{theirs}.{stored}" for name, stored in names.items()}


META_VIT = Layout(
    form="meta",
    family="vit",
    block="blocks.{}.",
    modules={
        "patch_embed": "patch_embed.proj",
        "norm": "norm",
        "cls_norm": "cls_norm",
        **_in_blocks(
            {
                "norm1": "norm1",
                "norm2": "norm2",
                "attn.qkv": "attn.qkv",
                "attn.proj": "attn.proj",
                "mlp.fc1": "mlp.fc1",
                "mlp.fc2": "mlp.fc2",
                "mlp.gate": "mlp.w1",
                "mlp.up": "mlp.w2",
                "mlp.down": "mlp.w3",
            },
            "blocks.{}",
            "blocks.{}",
        ),
    },
    parameters={
        "cls_token": "cls_token",
        "registers": "storage_tokens",
        "rope_periods": "rope_embed.periods",
        "blocks.{}.ls1": "blocks.{}.ls1.gamma",
        "blocks.{}.ls2": "blocks.{}.ls2.gamma",
    },
    ignored=re.compile(r"mask_token"),
    fused_qkv=True,
)

TIMM_VIT = Layout(
    form="timm",
    family="vit",
    block="blocks.{}.",
    modules={
        "patch_embed": "patch_embed.proj",
        "norm": "norm",
        **_in_blocks(
            {
                "norm1": "norm1",
                "norm2": "norm2",
                "attn.qkv": "attn.qkv",
                "attn.proj": "attn.proj",
                "mlp.fc1": "mlp.fc1",
                "mlp.fc2": "mlp.fc2",
                "mlp.gate": "mlp.fc1_g",
                "mlp.up": "mlp.fc1_x",
                "mlp.down": "mlp.fc2",
            },
            "blocks.{}",
            "blocks.{}",
        ),
    },
    parameters={
        "cls_token": "cls_token",
        "registers": "reg_token",
        "blocks.{}.ls1": "blocks.{}.gamma_1",
        "blocks.{}.ls2": "blocks.{}.gamma_2",
    },
    ignored=re.compile(r"rope\.(periods|pos_embed_cached)"),
    fused_qkv=True,
)

HUGGINGFACE_VIT = Layout(
    form="huggingface",
    family="vit",
    block="layer.{}.",
    modules={
        "patch_embed": "embeddings.patch_embeddings",
        "norm": "norm",
        **_in_blocks(
            {
                "norm1": "norm1",
                "norm2": "norm2",
                "attn.q": "attention.q_proj",
                "attn.k": "attention.k_proj",
                "attn.v": "attention.v_proj",
                "attn.proj": "attention.o_proj",
                "mlp.fc1": "mlp.up_proj",
                "mlp.fc2": "mlp.down_proj",
                "mlp.gate": "mlp.gate_proj",
                "mlp.up": "mlp.up_proj",
                "mlp.down": "mlp.down_proj",
            },
            "blocks.{}",
            "layer.{}",
        ),
    },
    parameters={
        "cls_token": "embeddings.cls_token",
        "registers": "embeddings.register_tokens",
        "blocks.{}.ls1": "layer.{}.layer_scale1.lambda1",
        "blocks.{}.ls2": "layer.{}.layer_scale2.lambda1",
    },
    ignored=re.compile(r"embeddings\.mask_token|rope_embeddings\.\w+"),
)

META_CONVNEXT = Layout(
    form="meta",
    family="convnext",
    block="stages.{}.{}.",
    modules={
        "stages.0.downsample": "downsample_layers.0.0",
        "stages.0.downsample_norm": "downsample_layers.0.1",
        "stages.{}.downsample": "downsample_layers.{}.1",
        "stages.{}.downsample_norm": "downsample_layers.{}.0",
        "norm": "norm",
        **_in_blocks(
            {"dwconv": "dwconv", "norm": "norm", "fc1": "pwconv1", "fc2": "pwconv2"}, "stages.{}.blocks.{}", "stages.{}.{}"
        ),
    },
    parameters={"stages.{}.blocks.{}.gamma": "stages.{}.{}.gamma"},
    ignored=re.compile(r"norms\.\d\.(weight|bias)|mask_token"),
)

HUGGINGFACE_CONVNEXT = Layout(
    form="huggingface",
    family="convnext",
    block="stages.{}.layers.{}.",
    modules={
        "stages.0.downsample": "stages.0.downsample_layers.0",
        "stages.0.downsample_norm": "stages.0.downsample_layers.1",
        "stages.{}.downsample": "stages.{}.downsample_layers.1",
        "stages.{}.downsample_norm": "stages.{}.downsample_layers.0",
        "norm": "layer_norm",
        **_in_blocks(
            {"dwconv": "depthwise_conv", "norm": "layer_norm", "fc1": "pointwise_conv1", "fc2": "pointwise_conv2"},
            "stages.{}.blocks.{}",
            "stages.{}.layers.{}",
        ),
    },
    parameters={"stages.{}.blocks.{}.gamma": "stages.{}.layers.{}.gamma"},
    ignored=re.compile(r"(?!)"),
)

TIMM_CONVNEXT = Layout(
    form="timm",
    family="convnext",
    block="stages.{}.blocks.{}.",
    modules={
        "stages.0.downsample": "stem.0",
        "stages.0.downsample_norm": "stem.1",
        "stages.{}.downsample": "stages.{}.downsample.1",
        "stages.{}.downsample_norm": "stages.{}.downsample.0",
        "norm": "head.norm",
        **_in_blocks(
            {"dwconv": "conv_dw", "norm": "norm", "fc1": "mlp.fc1", "fc2": "mlp.fc2"},
            "stages.{}.blocks.{}",
            "stages.{}.blocks.{}",
        ),
    },
    parameters={"stages.{}.blocks.{}.gamma": "stages.{}.blocks.{}.gamma"},
    ignored=re.compile(r"(?!)"),
)
