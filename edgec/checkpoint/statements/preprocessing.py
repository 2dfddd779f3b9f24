"""Processors as transformers saves them: how bytes become the model's input. Resizing and cropping are not read.

Source: `transformers` (`BaseImageProcessor`, `preprocessor_config.json`; from version 5 also `processor_config.json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgec.checkpoint.statements.types import Statements
from edgec.checkpoint.statements.values import normalisation
from edgec.errors import UnknownForm, UnreadableCheckpoint
from edgec.text import shown

_WITH_LVD: Final = ("DINOv3ViTImageProcessor",)
"""Processors whose default mean and std are those of LVD-1689M."""
_KEYS: Final = ("do_normalize", "do_rescale", "rescale_factor", "image_processor_type", "feature_extractor_type")
_ORDER: Final = ("do_flip_channel_order", "do_grayscale")
_OFFSETS: Final = ("offset", "rescale_offset")


def is_processor(values: Mapping[str, Any]) -> bool:
    """Whether this is a processor's configuration, not just any table with a mean and a deviation."""
    return any(key in values for key in _KEYS)


def from_processor(values: Mapping[str, Any], where: str, statements: Statements) -> None:
    """Adds one statement about normalisation, scaling included. Raises `UnknownForm` for channels in another order, and
    `UnreadableCheckpoint` for values that are missing or not numbers."""
    for key in _ORDER:
        if values.get(key):
            raise UnknownForm(
                f"{where} changes the frames' channels, which edgec does not.", evidence=f"{key}: {shown(values[key])}"
            )
    _refuse_own_code(values, where)
    factor = values.get("rescale_factor", 1 / 255)
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 < factor < 1e3:
        raise UnreadableCheckpoint(f"{where} has no usable rescale_factor.", evidence=f"it is {shown(factor, 80)}")
    # transformers multiplies bytes by the factor, if it does; means and deviations here are of pixels in [0, 1].
    divisor = 255.0 if values.get("do_rescale") is False else 255.0 * factor
    if abs(divisor - 1) < 1e-4:  # 1/255 is written with more or fewer digits
        divisor = 1.0
    mean, std = values.get("image_mean"), values.get("image_std")
    shift = 1.0 if any(values.get(key) for key in _OFFSETS) and values.get("do_rescale") is not False else 0.0
    if values.get("do_normalize") is False:
        mean, std = 0.0, 1.0
        place = f"{where}: do_normalize"
    elif mean is None and std is None:
        kind = values.get("image_processor_type", values.get("feature_extractor_type"))
        if kind is not None and str(kind).removesuffix("Fast") not in _WITH_LVD:
            raise UnreadableCheckpoint(
                f"{where} names a processor without the mean and std that it normalises with.",
                evidence=f"{shown(kind, 80)}, whose own image_mean and image_std edgec does not know",
                remedy="save it again with transformers, or write image_mean and image_std into it",
            )
        if divisor == 1.0 and not shift:
            return
        raise UnreadableCheckpoint(
            f"{where} scales pixels and has no image_mean.", evidence=f"rescale_factor {shown(factor, 40)}"
        )
    else:
        place = f"{where}: image_mean, image_std"
    six = normalisation(mean, std, where, divisor)
    # Some processors subtract one after scaling, and then normalise.
    statements.add("normalisation", (*(each + shift / divisor for each in six[:3]), *six[3:]), place)


def _refuse_own_code(values: Mapping[str, Any], where: str) -> None:
    if values.get("auto_map"):
        raise UnknownForm(
            f"{where} names code of its own for the frames, which edgec does not run.",
            evidence=f"auto_map: {shown(values['auto_map'])}",
            remedy="if it only normalises, write image_mean and image_std into a JSON file and give it with --config",
        )
    if values.get("include_top"):
        raise UnknownForm(
            f"{where} normalises twice, which edgec does not.", evidence=f"include_top: {shown(values['include_top'], 40)}"
        )
