"""Processors as transformers saves them: how bytes become the model's input. Resizing and cropping are the camera's matter here.

Source: `transformers` (`BaseImageProcessor`, `preprocessor_config.json`; from version 5 also `processor_config.json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgec.checkpoint.stated.types import Statements
from edgec.checkpoint.stated.values import normalisation
from edgec.checkpoint.text import shown
from edgec.errors import UnknownForm, UnreadableCheckpoint

_PLAIN: Final = ("DINOv3ViTImageProcessor",)
"""Processors whose own figures are those of LVD-1689M."""
_ORDER: Final = ("do_flip_channel_order", "do_grayscale")


def is_processor(values: Mapping[str, Any]) -> bool:
    return any(
        key in values for key in ("image_mean", "image_std", "do_normalize", "image_processor_type", "feature_extractor_type")
    )


def from_processor(values: Mapping[str, Any], where: str, statements: Statements) -> None:
    """One statement about normalisation, scaling included. Raises `UnknownForm` for channels in another order, and
    `UnreadableCheckpoint` for figures that are none."""
    for key in _ORDER:
        if values.get(key):
            raise UnknownForm(
                f"{where} changes the frames' channels, which edgec does not.", evidence=f"{key}: {shown(values[key])}"
            )
    factor = values.get("rescale_factor", 1 / 255)
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 < factor < 1e3:
        raise UnreadableCheckpoint(f"{where} has no usable rescale_factor.", evidence=f"it is {shown(factor, 80)}")
    # Bytes are multiplied with the factor, or with nothing; pixels here are in [0, 1].
    divisor = 255.0 if values.get("do_rescale") is False else 255.0 * factor
    if abs(divisor - 1) < 1e-4:  # 1/255 is written with more or fewer digits
        divisor = 1.0
    mean, std = values.get("image_mean"), values.get("image_std")
    if values.get("do_normalize") is False:
        mean, std = 0.0, 1.0
        place = f"{where}: do_normalize"
    elif mean is None and std is None:
        kind = values.get("image_processor_type", values.get("feature_extractor_type"))
        if kind is not None and str(kind).removesuffix("Fast") not in _PLAIN:
            raise UnreadableCheckpoint(
                f"{where} names a processor without the figures that it normalises with.",
                evidence=f"{shown(kind, 80)}, whose own image_mean and image_std edgec does not know",
                remedy="save it again with transformers, or write image_mean and image_std into it",
            )
        if divisor == 1.0:
            return
        raise UnreadableCheckpoint(
            f"{where} scales pixels and has no image_mean.", evidence=f"rescale_factor {shown(factor, 40)}"
        )
    else:
        place = f"{where}: image_mean, image_std"
    statements.add("normalisation", normalisation(mean, std, where, divisor), place)
