"""What each form calls edgec's weights. `{}` stands for the number of a block, or of a stage and a block in a ConvNeXt.

Source of the names: Meta's published code, `transformers` (DINOv3ViTModel, DINOv3ConvNextModel) and timm (Eva, ConvNeXt).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FormName = Literal["meta", "timm", "huggingface"]
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")

_VIT: Mapping[str, tuple[str, str, str]] = {
    "cls_token": ("cls_token", "cls_token", "embeddings.cls_token"),
    "registers": ("storage_tokens", "reg_token", "embeddings.register_tokens"),
    "rope_periods": ("rope_embed.periods", "", ""),
    "patch_embed": ("patch_embed.proj", "patch_embed.proj", "embeddings.patch_embeddings"),
    "norm": ("norm", "norm", "norm"),
    "cls_norm": ("cls_norm", "", ""),
}
"""From edgec's name to Meta's, timm's and Hugging Face's; empty where the form has no such weight. A name without `.weight` or
`.bias` at its end stands for both."""
_VIT_BLOCK: Mapping[str, tuple[str, str, str]] = {
    "norm1": ("norm1", "norm1", "norm1"),
    "norm2": ("norm2", "norm2", "norm2"),
    "attn.qkv": ("attn.qkv", "attn.qkv", ""),
    "attn.q": ("", "", "attention.q_proj"),
    "attn.k": ("", "", "attention.k_proj"),
    "attn.v": ("", "", "attention.v_proj"),
    "attn.proj": ("attn.proj", "attn.proj", "attention.o_proj"),
    "mlp.fc1": ("mlp.fc1", "mlp.fc1", "mlp.up_proj"),
    "mlp.fc2": ("mlp.fc2", "mlp.fc2", "mlp.down_proj"),
    "mlp.gate": ("mlp.w1", "mlp.fc1_g", "mlp.gate_proj"),
    "mlp.up": ("mlp.w2", "mlp.fc1_x", "mlp.up_proj"),
    "mlp.down": ("mlp.w3", "mlp.fc2", "mlp.down_proj"),
    "ls1": ("ls1.gamma", "gamma_1", "layer_scale1.lambda1"),
    "ls2": ("ls2.gamma", "gamma_2", "layer_scale2.lambda1"),
}
_CONVNEXT: Mapping[str, tuple[str, str, str]] = {
    "stages.0.downsample": ("downsample_layers.0.0", "stem.0", "stages.0.downsample_layers.0"),
    "stages.0.downsample_norm": ("downsample_layers.0.1", "stem.1", "stages.0.downsample_layers.1"),
    "stages.{}.downsample": ("downsample_layers.{}.1", "stages.{}.downsample.1", "stages.{}.downsample_layers.1"),
    "stages.{}.downsample_norm": ("downsample_layers.{}.0", "stages.{}.downsample.0", "stages.{}.downsample_layers.0"),
    "norm": ("norm", "head.norm", "layer_norm"),
}
_CONVNEXT_BLOCK: Mapping[str, tuple[str, str, str]] = {
    "dwconv": ("dwconv", "conv_dw", "depthwise_conv"),
    "norm": ("norm", "norm", "layer_norm"),
    "fc1": ("pwconv1", "mlp.fc1", "pointwise_conv1"),
    "fc2": ("pwconv2", "mlp.fc2", "pointwise_conv2"),
    "gamma": ("gamma", "gamma", "gamma"),
}


@dataclass(frozen=True)
class Layout:
    """The names of one form for one family. `names` go from edgec's name to the form's, both without `.weight` and `.bias`."""

    form: FormName
    family: Literal["vit", "convnext"]
    block: str
    """What every name in a block begins with."""
    names: Mapping[str, str]
    ignored: re.Pattern[str]
    """Names that belong to the form and are not needed to run the model."""
    fused_qkv: bool = False

    def stored(self, name: str) -> str:
        """The form's name of edgec's weight `name`. Raises `KeyError` if the form has no such weight."""
        module, _, kind = name.rpartition(".")
        for key, ending in ((name, ""), (module, f".{kind}")):
            stored = self.names.get(key) or self.names.get(_NUMBER.sub("{}", key))
            if stored:
                return stored.format(*_NUMBER.findall(key)) + ending
        raise KeyError(name)


def _column(form: FormName, rows: Mapping[str, tuple[str, str, str]], ours: str = "", theirs: str = "") -> dict[str, str]:
    index = ("meta", "timm", "huggingface").index(form)
    return {f"{ours}{name}": f"{theirs}{columns[index]}" for name, columns in rows.items() if columns[index]}


def _vit(form: FormName, block: str, ignored: str, *, fused_qkv: bool = False) -> Layout:
    names = _column(form, _VIT) | _column(form, _VIT_BLOCK, "blocks.{}.", block)
    return Layout(form, "vit", block, names, re.compile(ignored), fused_qkv)


def _convnext(form: FormName, block: str, ignored: str = "(?!)") -> Layout:
    names = _column(form, _CONVNEXT) | _column(form, _CONVNEXT_BLOCK, "stages.{}.blocks.{}.", block)
    return Layout(form, "convnext", block, names, re.compile(ignored))


META_VIT = _vit("meta", "blocks.{}.", "mask_token", fused_qkv=True)
TIMM_VIT = _vit("timm", "blocks.{}.", r"rope\.(periods|pos_embed_cached)", fused_qkv=True)
HUGGINGFACE_VIT = _vit("huggingface", "layer.{}.", r"embeddings\.mask_token|rope_embeddings\.\w+")
META_CONVNEXT = _convnext("meta", "stages.{}.{}.", r"norms\.\d\.(weight|bias)|mask_token")
HUGGINGFACE_CONVNEXT = _convnext("huggingface", "stages.{}.layers.{}.")
TIMM_CONVNEXT = _convnext("timm", "stages.{}.blocks.{}.")
