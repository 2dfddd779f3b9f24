"""`config.yaml` of Meta's training code: what the student was built with, and how its crops were normalised.

Source: facebookresearch/dinov3, `ssl_default_config.yaml`, `models/__init__.py` and `models/vision_transformer.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgec.checkpoint.statements.types import Statements
from edgec.checkpoint.statements.values import normalisation, scalar
from edgec.errors import UnknownForm
from edgec.text import shown

_ARCHITECTURES: Final[Mapping[str, tuple[int, int, int]]] = {
    "vit_small": (384, 12, 6),
    "vit_base": (768, 12, 12),
    "vit_large": (1024, 24, 16),
    "vit_so400m": (1152, 27, 18),
    "vit_huge2": (1280, 32, 20),
    "vit_giant2": (1536, 40, 24),
    "vit_7b": (4096, 40, 32),
}
"""Width, depth and heads."""
NORMS: Final = {"layernorm": 1e-6, "layernormbf16": 1e-5}
_OBEYED: Final = {
    "patch_size": "patch",
    "n_storage_tokens": "registers",
    "in_chans": "channels",
    "pos_embed_rope_base": "rope_theta",
    "num_heads": "heads",
    "embed_dim": "width",
    "depth": "depth",
    "n_blocks": "depth",
    "untie_cls_and_patch_norms": "separate_cls_norm",
    "proj_bias": "bias_proj",
    "ffn_bias": "bias_mlp",
}
FIXED: Final[Mapping[str, tuple[Any, ...]]] = {
    "pos_embed_type": ("rope",),
    "pos_embed_rope_normalize_coords": ("separate",),
    "pos_embed_rope_min_period": (None,),
    "pos_embed_rope_max_period": (None,),
}


def is_meta(values: Mapping[str, Any]) -> bool:
    """Whether this is a configuration of Meta's training code."""
    student = values.get("student")
    return isinstance(student, Mapping) and isinstance(student.get("arch"), str)


def from_meta(values: Mapping[str, Any], where: str, statements: Statements) -> None:
    """Adds what Meta's configuration states. Raises `UnknownForm` for a setting that no published backbone has."""
    student: Mapping[str, Any] = values["student"]
    place = f"{where}: student"
    architecture = student["arch"]
    vit = _ARCHITECTURES.get(architecture)
    if vit is not None:
        for name, value in zip(("width", "depth", "heads"), vit, strict=True):
            statements.add(name, value, f"{place}.arch {architecture} has, in {name},", component="student")
    elif "vit" in architecture:
        raise UnknownForm(
            f"{place}.arch names an architecture that edgec does not know.",
            evidence=f"it is {shown(architecture, 80)}; known are {', '.join(_ARCHITECTURES)} and convnext_…",
            remedy="give --config FILE with its dimensions, as in transformers' config.json",
        )
    statements.add("family", "convnext" if "convnext" in architecture else "vit", f"{place}.arch", component="student")
    for key, name in _OBEYED.items():
        if student.get(key) is not None and vit is not None:
            statements.add(name, scalar(student[key], f"{place}.{key}"), f"{place}.{key}", component="student")
    for part in "qkv" if vit is not None and student.get("qkv_bias") is False else ():
        statements.add(f"bias_{part}", False, f"{place}.qkv_bias", component="student")
    if vit is not None and student.get("mask_k_bias") is True:
        statements.add("bias_k", False, f"{place}.mask_k_bias", component="student")
    norm = student.get("norm_layer")
    if norm is not None and vit is not None:
        if norm not in NORMS:
            raise UnknownForm(f"{place}.norm_layer is one that distilled DINOv3 backbones do not have.", evidence=shown(norm, 80))
        statements.add("norm_eps", NORMS[norm], f"{place}.norm_layer {norm} has an epsilon: it", component="student")
    if isinstance(student.get("ffn_layer"), str) and vit is not None:
        statements.add("gated", student["ffn_layer"].startswith("swiglu"), f"{place}.ffn_layer", component="student")
    for key, values_of_dinov3 in FIXED.items():
        if key in student and student[key] not in values_of_dinov3:
            raise UnknownForm(
                f"{place}.{key} changes what the model computes, to what no published DINOv3 does.",
                evidence=f"it is {shown(student[key], 80)}; needed {values_of_dinov3[0]}",
            )
    crops = values.get("crops")
    if isinstance(crops, Mapping) and crops.get("rgb_mean") is not None and crops.get("rgb_std") is not None:
        six = normalisation(crops["rgb_mean"], crops["rgb_std"], f"{where}: crops")
        statements.add("normalisation", six, f"{where}: crops.rgb_mean, rgb_std")
