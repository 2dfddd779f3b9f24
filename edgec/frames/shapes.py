"""What a build's input size does to frames of a camera's shape: the linter's findings about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from edgec.frames.findings import LintFinding, some
from edgec.frames.measuring import Look
from edgec.frames.types import Crop, Frame
from edgec.model.spec import Size

_UPSCALED, _CROPPED, _STRETCHED = 1.05, 0.35, 1.1
_TURNED, _SAVED = 0.9, 0.1
"""A size is asked about if so large a share of the frames lie the other way, and the size turned round would lose that much less
of a frame."""


def _turned(good: Sequence[Frame], looks: Mapping[str, Look], size: Size) -> Iterable[LintFinding]:
    """Whether a size looks as if it were given as cameras have it, width first."""
    if size.height == size.width or not good:
        return
    swapped = Size(size.width, size.height)
    wide = size.height < size.width
    shapes = [looks[frame.name] for frame in good]
    other_way = sum((each.height < each.width) is not wide and each.height != each.width for each in shapes)
    lost, lost_swapped = (float(np.mean([_lost(each, one) for each in shapes])) for one in (size, swapped))
    if other_way < _TURNED * len(shapes) or lost - lost_swapped < _SAVED:
        return
    lie = "higher than wide" if wide else "wider than high"
    text = (
        f"is {swapped} meant? Sizes are HEIGHTxWIDTH: {size} is {size.height} high and {size.width} wide, and {other_way} of "
        f"{len(shapes)} frames are {lie}. At {size} a frame loses {lost:.0%} of its area on average, at {swapped} "
        f"{lost_swapped:.0%}; if so, type --input-size {swapped}"
    )
    yield LintFinding("warning", "orientation", text)


def _lost(seen: Look, size: Size) -> float:
    """The share of a frame's area that is cut off, or padding, at a size."""
    low, high = sorted((size.height / seen.height, size.width / seen.width))
    return 1 - low / high


def size_findings(good: Sequence[Frame], looks: Mapping[str, Look], size: Size, crop: Crop) -> Iterable[LintFinding]:
    """What a size does to frames by their crop: one that looks like the other way round, enlarging, cutting off, stretching."""
    turned = list(_turned(good, looks, size))
    yield from turned
    upscaled: list[str] = []
    cropped: list[str] = []
    stretched: list[str] = []
    losses: list[float] = []
    for frame in good:
        seen, policy = looks[frame.name], frame.crop or crop
        vertical, horizontal = size.height / seen.height, size.width / seen.width
        low, high = sorted((vertical, horizontal))
        if (low if policy == "pad" else high) > _UPSCALED:
            upscaled.append(frame.name)
        lost = _lost(seen, size)
        losses.append(lost)
        if policy == "resize":
            stretched += [frame.name] * (high / low > _STRETCHED)
        else:
            cropped += [frame.name] * (lost > _CROPPED)
    total = len(good)
    if upscaled:
        text = f"{len(upscaled)} of {total} frames are smaller than {size} and would be enlarged: {some(upscaled)}"
        yield LintFinding("warning", "size", text, tuple(upscaled))
    if cropped and not turned:
        text = (
            f"{len(cropped)} of {total} frames lose more than {_CROPPED:.0%} of their area, or are that much padding, at {size}"
        )
        yield LintFinding("warning", "aspect", f"{text}: {some(cropped)}", tuple(cropped))
    if stretched:
        text = f"{len(stretched)} of {total} frames are stretched by more than {_STRETCHED - 1:.0%} at {size}: {some(stretched)}"
        yield LintFinding("warning", "aspect", text, tuple(stretched))
    if losses and not cropped and not stretched and float(np.mean(losses)) > 0.01:
        yield LintFinding("note", "aspect", f"at {size} a frame loses {float(np.mean(losses)):.0%} of its area on average")
