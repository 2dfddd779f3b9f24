"""Keys that many trainers share, wherever they are: Lightning's hyper_parameters, argparse's args, LightlyTrain's arguments.

Only keys that mean the same everywhere are read. Those of another part of a larger model are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from edgec.checkpoint.statements import meta, pixels, preprocessing, timm, transformers
from edgec.checkpoint.statements.pixels import join
from edgec.checkpoint.statements.types import Statements
from edgec.checkpoint.statements.values import activation, scalar
from edgec.errors import UnknownForm
from edgec.text import shown
from edgec.untrusted import TEXT_LIMIT, Refused, parse_json, parse_python, parse_yaml

_HEADS: Final = ("num_heads", "num_attention_heads", "n_heads", "nheads")
_OBEYED: Final[Mapping[str, str]] = {
    **dict.fromkeys(_HEADS, "heads"),
    "rope_theta": "rope_theta",
    "rope_base": "rope_theta",
    "rope_temperature": "rope_theta",
    "pos_embed_rope_base": "rope_theta",
    "layer_norm_eps": "norm_eps",
    "layernorm_eps": "norm_eps",
    "norm_eps": "norm_eps",
    "patch_size": "patch",
    "num_register_tokens": "registers",
    "n_storage_tokens": "registers",
    "untie_cls_and_patch_norms": "separate_cls_norm",
    "global_pool": "pooling",
    "gp": "pooling",
}
_FIXED: Final[Mapping[str, tuple[Any, ...]]] = {
    **meta.FIXED,
    "rope_rotate_half": (True,),
    "rope_type": ("dinov3", "default", None),
    "use_abs_pos_emb": (False,),
    "use_fc_norm": (False, None),
    "num_kv_heads": (None,),
}
"""Arguments of DINOv3's own constructors that change what is computed, with the values that DINOv3 has."""
_OF_DECODERS: Final = frozenset(
    {"num_queries", "dim_feedforward", "dec_layers", "enc_layers", "num_decoder_layers", "n_decoder_layers", "dim_model"}
    | {"chunk_size", "n_obs_steps", "vocab_size", "num_object_queries", "d_model"}
)
"""In a table with one of these, the number of heads is that of a decoder or of a policy."""
_MODEL_NAMES: Final = (
    *("model", "model_name", "arch", "architecture", "timm_model", "timm_model_name"),
    *("backbone", "backbone_name", "backbone_type", "encoder", "encoder_name"),
)
_ARGUMENTS: Final = ("model_kwargs", "model_args", "backbone_kwargs", "backbone_args", "encoder_kwargs", "timm_kwargs")
_OTHER_FAMILIES: Final = re.compile(
    r"(?:\w+/)*(?:(?:vit|deit3?|beit|beitv2|flexivit|samvit)_\w*patch\d+(?!\w*dinov3)\w*|eva02?_\w+|naflexvit_\w+|dinov2\w*|dino_vit\w*)(?:[.-].*)?"
)
"""Names of well-known models that are not DINOv3's."""
_ELSEWHERE: Final = (
    *("optim", "scheduler", "loss", "criterion", "decoder", "head", "neck", "projector", "predictor", "text", "loop"),
    *("mixup", "logger", "tokenizer", "discriminator", "matcher", "callbacks"),
)
"""Beginnings and ends of keys whose tables are about something else than the backbone and its frames."""
_OF_FRAMES: Final = ("dataset", "augment", "trainer")
"""Beginnings and ends of keys whose tables are about frames alone."""
_DEPTH: Final = 16


def from_tree(values: Mapping[str, Any], where: str, statements: Statements, component: str = "") -> None:
    """Reads a container or a file of any trainer. A part that is a configuration of transformers, timm or Meta is read as such.
    Raises what those readers raise."""
    _walk(values, "", where, statements, component, _DEPTH)


def _walk(
    values: Mapping[str, Any], key: str, where: str, statements: Statements, component: str, depth: int, frames: bool = False
) -> None:
    """`frames`: only keys about frames are read."""
    if not frames and _from_a_known_file(values, where, statements):
        return
    if preprocessing.is_processor(values) and "model_type" not in values:
        preprocessing.from_processor(values, where, statements)
        return
    lower = {str(key).lower(): value for key, value in values.items()}
    pixels.from_table(lower, key, where, statements, component)
    if not frames:
        _from_architecture(lower, where, statements, component)
    if depth:
        for inner_key, value, only_frames in _inner(lower):
            inner = inner_key if inner_key in ("student", "teacher", "ema", "model_ema") else component
            _walk(value, inner_key, join(where, inner_key), statements, inner, depth - 1, frames or only_frames)


def _from_a_known_file(values: Mapping[str, Any], where: str, statements: Statements) -> bool:
    if transformers.is_transformers(values) and (values["model_type"] in transformers.KINDS or "quantization_config" in values):
        transformers.from_transformers(values, where, statements)
    elif timm.is_timm(values):
        timm.from_timm(values, where, statements)
    elif meta.is_meta(values):
        meta.from_meta(values, where, statements)
    else:
        return False
    return True


def _inner(values: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """Tables inside this one, also in lists and in texts, and whether they are about frames alone."""
    for key, value in values.items():
        if any(key.startswith(word) or key.endswith(word) for word in _ELSEWHERE):
            continue
        frames = any(key.startswith(word) or key.endswith(word) for word in _OF_FRAMES)
        if isinstance(value, str):
            value = _parsed(value)
        if isinstance(value, Mapping):
            yield key, value, frames
        elif isinstance(value, (list, tuple)):  # transforms, or the layers of anything
            yield from ((key, each, True) for each in value if isinstance(each, Mapping))


def _parsed(text: str, again: bool = True) -> Any:
    """The configuration that a text holds as JSON, YAML or OpenMMLab's Python, as in many containers; None if it holds none."""
    if len(text) > TEXT_LIMIT or not (text.lstrip().startswith(("{", '"{')) or "\n" in text):
        return None
    text = text.strip()
    for parse in (parse_json, parse_python, lambda each: parse_yaml(each.encode("utf-8", "replace"))):
        try:
            value = parse(text)
        except Refused:
            continue
        if isinstance(value, str) and again:
            return _parsed(value, again=False)
        if isinstance(value, dict) and value:
            return value
    return None


def _from_architecture(values: Mapping[str, Any], where: str, statements: Statements, component: str) -> None:
    _refuse_others(values, where)
    _from_timms_script(values, where, statements)
    decoders = bool(_OF_DECODERS & values.keys())
    for key, name in _OBEYED.items():
        value = values.get(key)
        if value is not None and not isinstance(value, Mapping) and not (decoders and key in _HEADS):
            statements.add(name, scalar(value, join(where, key), texts=True), join(where, key), component=component)
    norm = values.get("norm_layer")
    if isinstance(norm, str) and norm in meta.NORMS:
        statements.add(
            "norm_eps", meta.NORMS[norm], f"{join(where, 'norm_layer')} {norm} has an epsilon: it", component=component
        )
    for key in ("hidden_act", "act_layer"):
        if isinstance(values.get(key), str):
            statements.add("activation", activation(values[key]), join(where, key), component=component)


def _refuse_others(values: Mapping[str, Any], where: str) -> None:
    for key, allowed in _FIXED.items():
        if key in values and values[key] not in allowed:
            raise UnknownForm(
                f"{join(where, key)} changes what the model computes, to what no DINOv3 model does.",
                evidence=f"it is {shown(values[key], 80)}; needed {' or '.join(map(str, allowed))}",
                remedy="edgec compiles DINOv3's architecture only; if it is not about the backbone, --config none ignores it",
            )
    for key in _MODEL_NAMES:
        value = values.get(key)
        if isinstance(value, str) and _OTHER_FAMILIES.fullmatch(value.lower()):
            raise UnknownForm(
                f"{join(where, key)} names a model that is not DINOv3's.",
                evidence=f"it is {shown(value, 80)}, and the weights have a DINOv3 backbone's names",
                remedy="if this is not about the backbone, --config none ignores it, or --config FILE states what is right",
            )


def _from_timms_script(values: Mapping[str, Any], where: str, statements: Statements) -> None:
    """timm's training script stores its arguments: the model's name, and what was passed to it as model_kwargs."""
    name = next((values[key] for key in _MODEL_NAMES if isinstance(values.get(key), str) and timm.is_known(values[key])), None)
    if name is None:
        return
    key = next((each for each in _ARGUMENTS if isinstance(values.get(each), Mapping)), "")
    arguments = values[key] if key else {}
    timm.from_architecture(name, arguments, where, statements)
    timm.from_arguments(arguments, join(where, key), statements)
