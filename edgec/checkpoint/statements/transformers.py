"""`config.json` as transformers writes it, for DINOv3 itself and for larger models with a DINOv3 backbone inside.

Source: `transformers` 5 (`DINOv3ViTConfig`, `DINOv3ConvNextConfig`, `BackboneConfigMixin`, `PreTrainedConfig`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from edgec.checkpoint.statements.types import Statements, Value
from edgec.checkpoint.statements.values import activation, scalar
from edgec.errors import AmbiguousCheckpoint, UnknownForm
from edgec.text import listed, shown

KINDS: Final = {"dinov3_vit": "vit", "dinov3_convnext": "convnext"}
_OBEYED: Final[Mapping[str, str]] = {
    "hidden_size": "width",
    "num_hidden_layers": "depth",
    "num_attention_heads": "heads",
    "intermediate_size": "mlp_width",
    "num_register_tokens": "registers",
    "patch_size": "patch",
    "num_channels": "channels",
    "use_gated_mlp": "gated",
    "layer_norm_eps": "norm_eps",
    "rope_theta": "rope_theta",
    "query_bias": "bias_q",
    "key_bias": "bias_k",
    "value_bias": "bias_v",
    "proj_bias": "bias_proj",
    "mlp_bias": "bias_mlp",
    "depths": "depths",
    "hidden_sizes": "widths",
}
_DEFAULTS: Final[Mapping[str, Mapping[str, Value]]] = {
    "dinov3_vit": {"heads": 6, "norm_eps": 1e-5, "rope_theta": 100.0, "activation": "gelu", "bias_k": False},
    "dinov3_convnext": {"norm_eps": 1e-6, "activation": "gelu"},
}
"""transformers' defaults of keys that the weights do not imply. Larger models may have other defaults."""
_IDLE: Final = re.compile(
    r"_.*|architectures|model_type|transformers_version|torch_dtype|dtype|image_size|.*dropout.*|drop_path_rate|initializer_range|"
    r"layerscale_value|layer_scale_init_value|pos_embed_(shift|jitter|rescale)|apply_layernorm|reshape_hidden_states|"
    r"return_class_token|return_dict|output_.*|out_features|out_indices|stage_names|use_return_dict|use_cache|torchscript|"
    r"gradient_checkpointing|id2label|label2id|num_labels|problem_type|finetuning_task|task_specific_params|tie_.*|is_.*|"
    r"add_cross_attention|cross_attention_hidden_size|chunk_size_feed_forward|.*token_id|tokenizer_class|prefix|name_or_path|"
    r"tf_legacy_loss|use_bfloat16|attn_implementation|license|tags|"
    r"max_length|min_length|do_sample|early_stopping|num_beams|num_beam_groups|diversity_penalty|temperature|top_[kp]|typical_p|"
    r"repetition_penalty|length_penalty|no_repeat_ngram_size|encoder_no_repeat_ngram_size|bad_words_ids|num_return_sequences|"
    r"remove_invalid_values|exponential_decay_length_penalty|suppress_tokens|begin_suppress_tokens|forced_[be]os_token_id"
)
"""Keys that change nothing at inference: of training, of bookkeeping, and those that every model of transformers has."""
_LARGER: Final = {
    "eomt_dinov3": "EoMT, whose last blocks also see its queries: its encoder alone is not what was trained",
    "dinov2": "DINOv2",
    "dinov2_with_registers": "DINOv2 with registers",
    "ijepa": "I-JEPA",
    "vit": "a plain ViT",
    "siglip": "SigLIP",
    "siglip2": "SigLIP 2",
    "clip": "CLIP",
}


def is_transformers(values: Mapping[str, Any]) -> bool:
    """Whether this is transformers' configuration of a model (and not timm's in its wrapper)."""
    return isinstance(values.get("model_type"), str) and values["model_type"] != "timm_wrapper"


def from_transformers(values: Mapping[str, Any], where: str, statements: Statements) -> None:
    """Adds what the configuration of a DINOv3 backbone, or of a larger model with one inside, states. Raises `UnknownForm` for a
    model without a DINOv3 backbone and for settings that edgec cannot obey, `AmbiguousCheckpoint` for several backbones."""
    kind = values["model_type"]
    _refuse_quantised(values, where)
    for key in ("_name_or_path", "name_or_path"):
        if isinstance(values.get(key), str) and values[key]:
            statements.add("origin", values[key], f"{where}: {key}")
    if kind in KINDS:
        _from_backbone(values, where, statements)
        for name, value in _DEFAULTS[kind].items():
            if not any(statement.property == name for statement in statements.entries):
                statements.add(name, value, f"{where} does not say; transformers' {kind} takes", default=True)
        return
    inside = dict(_backbones(values, ""))
    if not inside:
        title = f": {_LARGER[kind]}" if kind in _LARGER else ""
        raise UnknownForm(
            f"{where} describes a model of another kind.",
            evidence=f"model_type is {shown(kind)}{title}; needed {' or '.join(KINDS)}, or one of them as backbone_config",
            remedy="give the checkpoint of a DINOv3 backbone; if this file is not the checkpoint's, --config none ignores it",
        )
    first, *others = inside
    if any(inside[other] != inside[first] for other in others):
        raise AmbiguousCheckpoint(
            f"{where} describes several DINOv3 backbones.",
            evidence=f"{listed(inside)} of a model of the kind {shown(kind)}",
            remedy="put the one that is meant into a file of its own and give it with --config FILE",
        )
    _from_backbone(inside[first], f"{where}: {first}", statements)


def _from_backbone(values: Mapping[str, Any], where: str, statements: Statements) -> None:
    kind = values["model_type"]
    _refuse_quantised(values, where)
    if values.get("auto_map"):
        raise UnknownForm(
            f"{where} names code of its own for this model, which edgec does not run.",
            evidence=f"auto_map: {shown(values['auto_map'])}",
            remedy="if the model is DINOv3's all the same, remove auto_map, or give --config FILE",
        )
    statements.add("family", KINDS[kind], f"{where}: model_type")
    for key, name in _OBEYED.items():
        if key in values:
            statements.add(name, scalar(values[key], f"{where}: {key}"), f"{where}: {key}")
    if values.get("hidden_act") is not None:
        statements.add("activation", activation(values["hidden_act"]), f"{where}: hidden_act")
    rope = values.get("rope_parameters") or values.get("rope_scaling")
    if isinstance(rope, Mapping):
        _from_rope(rope, where, statements)
    handled = {*_OBEYED, "hidden_act", "rope_parameters", "rope_scaling", "quantization_config", "auto_map", "pruned_heads"}
    if values.get("pruned_heads"):
        raise UnknownForm(
            f"{where} prunes heads, which edgec does not.", evidence=f"pruned_heads: {shown(values['pruned_heads'])}"
        )
    statements.unread += [f"{where}: {shown(key, 80)}" for key in values if key not in handled and not _IDLE.fullmatch(key)]


def _from_rope(rope: Mapping[str, Any], where: str, statements: Statements) -> None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", None):
        raise UnknownForm(
            f"{where} asks for rotary embeddings that DINOv3 does not have.", evidence=f"rope_type is {shown(kind)}"
        )
    if rope.get("rope_theta") is not None:
        statements.add("rope_theta", scalar(rope["rope_theta"], f"{where}: rope_theta"), f"{where}: rope_parameters.rope_theta")


def _refuse_quantised(values: Mapping[str, Any], where: str) -> None:
    config = values.get("quantization_config")
    if config:
        method = config.get("quant_method") if isinstance(config, Mapping) else config
        raise UnknownForm(
            "This checkpoint is quantised already, and edgec quantises from floats.",
            evidence=f"{where}: quantization_config of {shown(method or config, 80)}",
            remedy="give the float checkpoint that it was made from; edgec calibrates and quantises for the target itself",
        )


def _backbones(values: Mapping[str, Any], path: str, depth: int = 4) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The configurations of DINOv3 backbones inside, by the keys that lead to them."""
    for key, value in values.items():
        if isinstance(value, Mapping) and depth:
            inner = f"{path}.{key}" if path else key
            if value.get("model_type") in KINDS:
                yield inner, value
            else:
                yield from _backbones(value, inner, depth - 1)
