"""Words that many trainers share, wherever they stand: Lightning's hyper_parameters, argparse's args, LightlyTrain's arguments.

Only keys whose meaning is the same everywhere are heard. What belongs to another part of a larger model is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from edgec.checkpoint.stated import meta, preprocessing, timm, transformers
from edgec.checkpoint.stated.types import Statements
from edgec.checkpoint.stated.values import normalisation, scalar
from edgec.errors import EdgecError, UnknownForm

_OBEYED: Final[Mapping[str, str]] = {
    "num_heads": "heads",
    "num_attention_heads": "heads",
    "n_heads": "heads",
    "nheads": "heads",
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
    "global_pool": "pooling",
    "gp": "pooling",
}
_PAIRS: Final = (("image_mean", "image_std"), ("pixel_mean", "pixel_std"), ("rgb_mean", "rgb_std"), ("mean", "std"))
_OF_PIXELS: Final = re.compile(
    r"normali[sz]|image|pixel|rgb|preproc|transform|data_c|pretrained_cfg|^args$|^hyper_parameters$|^config$"
)
"""Components under which a plain `mean` and `std` are those of pixels, and not of a robot's joints."""
_OF_PIXELS_BESIDE: Final = frozenset({"interpolation", "crop_pct", "input_size", "img_size", "image_size"})
_BLUE_FIRST: Final = {"rgb_to_bgr": True, "to_bgr": True, "bgr": True, "bgr_to_rgb": False, "swap_rgb": True}
_ORDERS: Final = frozenset(
    {"format", "input_format", "channel_order", "color_format", "color_order", "color_space", "image_format"}
)
_NORMALISERS: Final = frozenset({"image_normalize", "normalize", "normalize_args", "normalization", "normalisation", "norm_cfg"})
_MODEL_NAMES: Final = ("model", "model_name", "arch", "architecture", "timm_model", "backbone", "backbone_name")
_ELSEWHERE: Final = (
    *(
        "optimizer",
        "optim",
        "scheduler",
        "loss",
        "criterion",
        "decoder",
        "head",
        "neck",
        "projector",
        "predictor",
        "text",
        "loop",
    ),
    *("augment", "mixup", "logger", "trainer", "dataset", "tokenizer", "discriminator", "matcher", "callbacks"),
)
"""Beginnings and ends of components whose words are about something else than the backbone."""
_DEPTH: Final = 8


def from_tree(values: Mapping[str, Any], where: str, statements: Statements, of: str = "") -> None:
    """Walks a container or a file that may be any trainer's. A part that is transformers', timm's or Meta's configuration is read
    as such. Raises what those readers raise."""
    _walk(values, where, statements, of, _DEPTH)


def _walk(values: Mapping[str, Any], where: str, statements: Statements, of: str, depth: int) -> None:
    if transformers.is_transformers(values) and (values["model_type"] in transformers.KINDS or "quantization_config" in values):
        transformers.from_transformers(values, where, statements)
        return
    if timm.is_timm(values):
        timm.from_timm(values, where, statements)
        return
    if meta.is_meta(values):
        meta.from_meta(values, where, statements)
        return
    if preprocessing.is_processor(values) and "model_type" not in values:
        preprocessing.from_processor(values, where, statements)
        return
    values = {str(key).lower(): value for key, value in values.items()}
    _refuse_blue_first(values, where)
    _of_timms_script(values, where, statements)
    for key, name in _OBEYED.items():
        value = values.get(key)
        if value is not None and not isinstance(value, Mapping):
            statements.add(name, scalar(value, _join(where, key)), _join(where, key), of=of)
    for mean, std in _PAIRS:
        if mean == "mean" and not (_OF_PIXELS.search(_last(where)) or _OF_PIXELS_BESIDE & values.keys()):
            continue
        if values.get(mean) is not None and values.get(std) is not None and _is_triple(values[mean], values[std]):
            statements.add(
                "normalisation", normalisation(values[mean], values[std], where), f"{_join(where, mean)}, {std}", of=of
            )
    for key in _NORMALISERS & values.keys():
        if key == "image_normalize" and values[key] in (None, "none"):  # LightlyTrain's word for pixels in [0, 1] as they are
            statements.add("normalisation", (0.0, 0.0, 0.0, 1.0, 1.0, 1.0), _join(where, key), of=of)
    if depth:
        for key, value in _inner(values):
            component = key if key in ("student", "teacher", "ema", "model_ema") else of
            _walk(value, _join(where, key), statements, component, depth - 1)


def _inner(values: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, value in values.items():
        lower = str(key).lower()
        if isinstance(value, Mapping) and not any(lower.startswith(word) or lower.endswith(word) for word in _ELSEWHERE):
            yield str(key), value


def _last(where: str) -> str:
    """The component that a place ends with; empty for a whole file."""
    return where.rpartition(": ")[2].rpartition(".")[2].lower() if ": " in where else "image"


def _refuse_blue_first(values: Mapping[str, Any], where: str) -> None:
    stated = [key for key, value in _BLUE_FIRST.items() if values.get(key) is value]
    stated += [key for key in _ORDERS & values.keys() if str(values[key]).upper() == "BGR"]
    if stated:
        raise UnknownForm(
            "This model takes blue first, and edgec's take red first.",
            evidence=f"{_join(where, stated[0])} is {values[stated[0]]}",
            remedy="turn the patch embedding's input channels round (weight[:, [2, 1, 0]]), mean and std too, and say so; "
            "--config FILE if this is not about the model",
        )


def _of_timms_script(values: Mapping[str, Any], where: str, statements: Statements) -> None:
    """timm's training script stores its arguments: the model's name, and what was passed to it as model_kwargs."""
    name = next((values[key] for key in _MODEL_NAMES if isinstance(values.get(key), str) and timm.is_known(values[key])), None)
    if name is None:
        return
    arguments = values.get("model_kwargs")
    arguments = arguments if isinstance(arguments, Mapping) else {}
    timm.from_architecture(name, arguments, where, statements)
    timm.from_arguments(arguments, _join(where, "model_kwargs"), statements)


def _is_triple(mean: Any, std: Any) -> bool:
    try:
        normalisation(mean, std, "")
    except EdgecError:
        return False
    return not isinstance(mean, (int, float))


def _join(where: str, key: str) -> str:
    return f"{where}: {key}" if ":" not in where else f"{where}.{key}"
