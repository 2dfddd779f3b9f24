"""timm's `config.json` (architecture, model_args, pretrained_cfg), and the same keys in files of its training script.

Source: timm 1.0 (`Eva`, `ConvNeXt`, `create_model`, `save_for_hf`, `train.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from edgec.checkpoint.statements.types import Statements
from edgec.checkpoint.statements.values import activation, normalisation, scalar
from edgec.errors import UnknownForm, UnreadableCheckpoint
from edgec.text import shown

_NAME: Final = re.compile(
    r"(?P<model>vit_(?P<size>tiny|small|small_plus|base|large|huge_plus|7b)_patch16_dinov3(_qkvb)?|convnext_\w+)"
)
_HEADS: Final = {"tiny": 3, "small": 6, "small_plus": 6, "base": 12, "large": 16, "huge_plus": 20, "7b": 32}
_CONVNEXT: Final = re.compile(r"convnext_(atto|femto|pico|nano|tiny|small|base|large|xlarge|xxlarge)(_in22\w*|_384\w*)?")
_OBEYED: Final[Mapping[str, str]] = {
    "num_heads": "heads",
    "embed_dim": "width",
    "depth": "depth",
    "patch_size": "patch",
    "num_reg_tokens": "registers",
    "in_chans": "channels",
    "rope_temperature": "rope_theta",
    "swiglu_mlp": "gated",
    "depths": "depths",
    "dims": "widths",
    "norm_eps": "norm_eps",
}
_FIXED: Final[Mapping[str, tuple[Any, ...]]] = {
    "rope_type": ("dinov3",),
    "rope_rotate_half": (True,),
    "rope_grid_offset": (0, 0.0),
    "rope_grid_indexing": ("ij",),
    "rope_mrope_section": (None,),
    "use_rot_pos_emb": (True,),
    "use_abs_pos_emb": (False,),
    "attn_type": ("eva", "rope"),
    "num_kv_heads": (None,),
    "qk_norm": (False,),
    "scale_mlp": (False,),
    "scale_attn_inner": (False,),
    "attn_only_layer_scale": (False,),
    "class_token": (True,),
    "use_post_norm": (False,),
    "use_pre_transformer_norm": (False,),
    "use_post_transformer_norm": (True, None),
    "use_fc_norm": (False,),
    "norm_layer": (None,),
    "kernel_sizes": (7, [7, 7, 7, 7]),
    "output_stride": (32,),
    "stem_type": ("patch",),
    "head_norm_first": (False,),
    "head_hidden_size": (None,),
    "conv_mlp": (False,),
    "conv_bias": (True,),
    "use_grn": (False,),
}
"""Arguments that change what is computed, with the values that a DINOv3 model has."""
_IDLE: Final = re.compile(
    r"img_size|num_classes|.*drop.*|dynamic_img_(size|pad)|init_values|ls_init_value|head_init_scale|qkv_bias|qkv_fused|"
    r"rope_(shift|jitter|rescale)_coords|no_embed_class|ref_feat_shape|swiglu_align_to|attn_pool_\w+|pretrained\w*|checkpoint_path|scriptable|"
    r"exportable|features_only|out_indices|device|dtype|cache_dir"
)


def is_timm(values: Mapping[str, Any]) -> bool:
    """Whether this is timm's configuration of a model."""
    return isinstance(values.get("architecture"), str) and (
        values.get("model_type") == "timm_wrapper"
        or any(key in values for key in ("pretrained_cfg", "model_args", "num_features"))
    )


def is_known(architecture: str) -> bool:
    """Whether this is timm's name of a model that may be DINOv3's."""
    return bool(_NAME.fullmatch(architecture.partition(".")[0]))


def from_timm(values: Mapping[str, Any], where: str, statements: Statements) -> None:
    """Adds what timm's configuration states. Raises `UnknownForm` for an architecture that is not DINOv3's, and for arguments
    that change what it computes."""
    arguments = values.get("model_args") or {}
    if not isinstance(arguments, Mapping):
        raise UnreadableCheckpoint(
            f"{where} has no usable model_args.", evidence=f"it is {shown(arguments, 80)}; needed an object"
        )
    from_architecture(values["architecture"], arguments, where, statements)
    from_arguments(arguments, f"{where}: model_args", statements)
    if values.get("global_pool") is not None:
        statements.add("pooling", str(values["global_pool"]), f"{where}: global_pool")
    elif arguments.get("global_pool") is None and values.get("num_classes", 0):
        statements.add("pooling", "avg", f"{where} does not say; timm's {values['architecture']} takes", default=True)
    pretrained = values.get("pretrained_cfg")
    if isinstance(pretrained, Mapping):
        from_pretrained(pretrained, f"{where}: pretrained_cfg", statements)


def from_architecture(architecture: str, arguments: Mapping[str, Any], where: str, statements: Statements) -> None:
    """Adds what timm's name of a model implies: its family, and what the arguments do not say. Raises `UnknownForm`."""
    name = architecture.partition(".")[0]
    match = _NAME.fullmatch(name)
    if match is None or (match["size"] is None and not _CONVNEXT.fullmatch(name)):
        raise UnknownForm(
            f"{where} names an architecture that is not DINOv3's.",
            evidence=f"architecture is {shown(architecture, 80)}; needed vit_…_patch16_dinov3… or convnext_…",
            remedy="give the checkpoint of a DINOv3 backbone; if this file is not the checkpoint's, --config none ignores it",
        )
    size = match["size"]
    statements.add("origin", architecture, f"{where}: architecture")
    statements.add("family", "vit" if size else "convnext", f"{where}: architecture")
    statements.add("norm_eps", 1e-5 if size else 1e-6, f"{where}: architecture {name} takes", default=True)
    if size and arguments.get("num_heads") is None:
        statements.add("heads", _HEADS[size], f"{where}: architecture {name} has, in heads,")
    if size and arguments.get("rope_temperature") is None:
        statements.add("rope_theta", 100.0, f"{where}: architecture {name} takes", default=True)


def from_arguments(arguments: Mapping[str, Any], where: str, statements: Statements) -> None:
    """Adds what the constructor's arguments state. Raises `UnknownForm` for values that no DINOv3 model has, and for unknown
    arguments."""
    convnext = any(statement.value == "convnext" for statement in statements.about("family"))
    for key, value in arguments.items():
        place = f"{where}.{shown(key, 80)}"
        if key == "patch_size" and convnext:
            statements.add("stem", scalar(value, place), place)
        elif key in _OBEYED:
            statements.add(_OBEYED[key], None if value is None else scalar(value, place), place)
        elif key == "global_pool":
            statements.add("pooling", str(value), place)
        elif key == "act_layer" and value is not None:
            statements.add("activation", activation(value), place)
        elif key == "mlp_ratio":
            statements.add("mlp_ratio", scalar(value, place), place)
        elif key in ("pretrained_cfg", "pretrained_cfg_overlay") and isinstance(value, Mapping):
            from_pretrained(value, place, statements)
        elif key == "use_fc_norm" and value is None:
            continue
        elif key in _FIXED:
            if value not in _FIXED[key]:
                raise UnknownForm(
                    f"{place} changes what the model computes, to what no DINOv3 model does.",
                    evidence=f"it is {shown(value, 80)}; needed {' or '.join(map(str, _FIXED[key]))}",
                    remedy="edgec compiles DINOv3's architecture only; if the file is wrong, correct it or give --config FILE",
                )
        elif not _IDLE.fullmatch(str(key)):
            raise UnknownForm(
                f"{place} is an argument that edgec does not know.",
                evidence=f"it is {shown(value, 80)}, and timm passes it to the model",
                remedy="if it changes nothing at inference, remove it, or give --config FILE",
            )


def from_pretrained(values: Mapping[str, Any], where: str, statements: Statements) -> None:
    """Adds what a `pretrained_cfg` states about normalisation, origin, licence and channels."""
    mean, std = values.get("mean"), values.get("std")
    if mean is not None and std is not None:
        statements.add("normalisation", normalisation(mean, std, where), f"{where}.mean, std")
    for key, name in (("tag", "origin"), ("architecture", "origin"), ("license", "licence")):
        if isinstance(values.get(key), str):
            statements.add(name, values[key], f"{where}.{key}")
    size = values.get("input_size")
    if isinstance(size, list) and len(size) == 3:
        statements.add("channels", scalar(size[0], f"{where}.input_size"), f"{where}.input_size")
