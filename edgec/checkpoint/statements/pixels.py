"""Mean and deviation of pixels wherever they are: under any of their names, in a table, a list of transforms or a buffer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from edgec.checkpoint.statements.types import Statements
from edgec.checkpoint.statements.values import is_plausible, normalisation
from edgec.errors import EdgecError, UnknownForm
from edgec.text import shown

if TYPE_CHECKING:
    from torch import Tensor

_FIGURE: Final = re.compile(r"(?P<before>.*?)[._]?(?P<kind>mean|std)s?(?:_(?P<after>[a-z]+))?")
"""`mean`, `image_mean`, `rgb_means`, `mean_rgb`; and the same for the deviation."""
_OF_PIXELS: Final = re.compile(r"image|img|pixel|rgb|colou?r|camera")
_PERHAPS_OF_PIXELS: Final = re.compile(r"normali[sz]|norm_cfg|preproc|transform|pipeline|data_c|pretrained_cfg|crops")
_OF_OTHERS: Final = re.compile(
    r"action|state(?!_dict)|joint|pose|qpos|proprio|effort|gripper|target|label|depth|latent|feature|text|audio|point|reward|"
    r"veloc|running|bbox|box|tactile|force|embed|token|loss|score|metric|grad"
)
"""Other things that may have three means and deviations, above all a robot's joints."""
_BESIDE: Final = frozenset({"interpolation", "crop_pct", "input_size", "img_size", "image_size", "input_space", "to_rgb"})
_SETTINGS: Final = frozenset({"", "args", "hparams", "hyper_parameters", "config", "cfg", "opt", "options", "settings", "params"})
"""Names of tables about a whole run: a plain mean and std in them are the model's."""
_NONE: Final = (0.0, 0.0, 0.0, 1.0, 1.0, 1.0)
_IMAGENET: Final = (0.485, 0.456, 0.406, 0.229, 0.224, 0.225)
_CLIP: Final = (0.48145466, 0.4578275, 0.40821073, 0.26862954, 0.26130258, 0.27577711)
_HALF: Final = (0.5,) * 6
_WORDS: Final = {
    "imagenet": _IMAGENET,
    "imagenet1k": _IMAGENET,
    "imagenet_default": _IMAGENET,
    "clip": _CLIP,
    "openai_clip": _CLIP,
    "inception": _HALF,
    "imagenet_inception": _HALF,
    "siglip": _HALF,
}
_NORMALISERS: Final = ("image_normalize", "image_normalization", "image_norm", "pixel_normalization", "input_normalization")
"""Keys that are about pixels alone; those below may be about layers too."""
_PERHAPS: Final = ("normalize", "normalise", "normalization", "normalisation", "normalize_args", "norm_type", "img_norm")
_SAYS_BGR: Final = {
    **dict.fromkeys(("rgb_to_bgr", "to_bgr", "bgr", "swap_rgb", "is_bgr", "use_bgr", "input_bgr", "bgr_input", "rgb2bgr"), True),
    **dict.fromkeys(("bgr_to_rgb", "to_rgb", "bgr2rgb", "convert_to_rgb"), False),
}
_ORDERS: Final = frozenset(
    {"format", "input_format", "channel_order", "color_format", "color_order", "color_space", "image_format", "input_space"}
)
_CHANNELS: Final = 3


def from_table(values: Mapping[str, Any], key: str, where: str, statements: Statements, component: str = "") -> None:
    """Adds what one table, without the tables in it, states about pixels. `key` is the table's name, empty for a whole file.
    Keys of `values` are in lower case.

    Raises `UnknownForm` for channels in the order BGR and for a named normalisation that edgec does not know,
    `UnreadableCheckpoint` for a mean or deviation of pixels that is not three numbers.
    """
    _refuse_bgr(values, where)
    for mean, std, about in _pairs(values):
        six = _six(values[mean], values[std])
        if six is None and values[mean] is not None and values[std] is not None and _OF_PIXELS.search(about):
            normalisation(values[mean], values[std], join(where, mean))  # raises the reason
        if six is not None and _is_of_pixels(six, f"{key} {about}", key.lower() in _SETTINGS or bool(_BESIDE & values.keys())):
            statements.add("normalisation", six, f"{join(where, mean)}, {std}", component=component)
    for name in (*_NORMALISERS, *_PERHAPS):
        if name in values:
            _from_word(values[name], name, where, statements, component)


def from_tensors(tensors: Mapping[str, Tensor], where: str, statements: Statements) -> set[str]:
    """Adds what buffers such as `model.pixel_mean` and `model.pixel_std` state. Returns the names of those that were used."""
    small = {name: tensor for name, tensor in tensors.items() if _is_small(name, tensor)}
    names, used = {name.lower(): name for name in small}, set()
    for mean, std, about in _pairs(names):
        first, second = small[names[mean]], small[names[std]]
        six = _six(first.flatten().tolist(), second.flatten().tolist())
        in_space = first.ndim > 2 and tuple(first.shape[-2:]) == (1, 1)
        if six is not None and _is_of_pixels(six, about, in_space):
            statements.add("normalisation", six, f"{where}: {shown(names[mean], 80)}, {shown(names[std], 80)}")
            used |= {names[mean], names[std]}
    return used


def join(where: str, key: str) -> str:
    """`where` with one more key: `config.yaml: model`, then `config.yaml: model.heads`."""
    return f"{where}: {key}" if ":" not in where else f"{where}.{key}"


def _is_small(name: str, tensor: Tensor) -> bool:
    import torch

    if not _FIGURE.fullmatch(name.lower()) or tensor.numel() != _CHANNELS or tensor.is_sparse or tensor.is_quantized:
        return False
    return tensor.layout == torch.strided and tensor.device.type == "cpu" and tensor.is_floating_point()


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Keys of a mean and of its deviation, and the rest of their names."""
    matches = {key: match for key in values if (match := _FIGURE.fullmatch(key))}
    by_rest: dict[tuple[str, str], dict[str, str]] = {}
    for key, match in matches.items():
        by_rest.setdefault((match["before"], match["after"] or ""), {})[match["kind"]] = key
    return [(kinds["mean"], kinds["std"], " ".join(rest)) for rest, kinds in by_rest.items() if len(kinds) == 2]


def _six(mean: Any, std: Any) -> tuple[float, ...] | None:
    if mean is None or std is None:
        return None
    try:
        return normalisation(mean, std, "")
    except EdgecError:
        return None


def _is_of_pixels(six: tuple[float, ...], names: str, certain: bool) -> bool:
    names = names.lower()
    if _OF_PIXELS.search(names):
        return True
    if _OF_OTHERS.search(names):
        return False
    return certain or bool(_PERHAPS_OF_PIXELS.search(names)) or is_plausible(six)


def _from_word(value: Any, name: str, where: str, statements: Statements, component: str) -> None:
    """A normalisation by its name: `normalize: "clip"`, or LightlyTrain's `image_normalize: "none"` for pixels in [0, 1]."""
    six = _WORDS.get(value.lower().replace("-", "_")) if isinstance(value, str) else None
    if name in _NORMALISERS and (value in (None, False) or (isinstance(value, str) and value.lower() in ("none", "false"))):
        six = _NONE
    if six is not None:
        statements.add("normalisation", six, join(where, name), component=component)
    elif name in _NORMALISERS and isinstance(value, str) and value.lower() not in ("true", "default"):
        raise UnknownForm(
            f"{join(where, name)} names a normalisation of pixels that edgec does not know.",
            evidence=f"it is {shown(value, 80)}; known are none, {', '.join(_WORDS)}",
            remedy='write its figures into a JSON file, {"image_mean": […], "image_std": […]}, and give it with --config',
        )


def _refuse_bgr(values: Mapping[str, Any], where: str) -> None:
    stated = [key for key, value in _SAYS_BGR.items() if values.get(key) is value]
    stated += [key for key in _ORDERS & values.keys() if str(values[key]).upper() == "BGR"]
    if stated:
        raise UnknownForm(
            "This model takes channels in the order BGR; edgec's take RGB.",
            evidence=f"{join(where, stated[0])} is {values[stated[0]]}",
            remedy="reverse the patch embedding's input channels (weight[:, [2, 1, 0]]), mean and std too, and correct the file; "
            "give --config FILE if this is not about the model",
        )
