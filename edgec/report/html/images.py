"""PCA pictures small enough to travel inside the page: a patch is a pixel, and the browser enlarges it."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgec.fidelity.cosines import cosines
from edgec.report.html.subjects import Subject
from edgec.report.pictures import CAPTIONS, Bytes, Compared, colours, fit_basis, heat
from edgec.report.records import printable

_MOST, _SHARED = 4, 24
"""Frames of a report, and about how many of a whole page."""
_SIDE = 240
_SCALE = 1e-6, 1e-1


@dataclass(frozen=True)
class Shown:
    """One frame: caption and data URI of each picture, and its figures in words."""

    name: str
    figures: str
    pictures: tuple[tuple[str, str], ...]


def frames_each(subjects: list[Subject]) -> int:
    """How many frames of each report a page of all these shows."""
    drawn = sum(subject.pictures is not None for subject in subjects)
    return max(1, min(_MOST, _SHARED // max(drawn, 1)))


def shown(compared: Compared, most: int) -> tuple[Shown, ...]:
    """The first `most` frames. Colours are fitted to all, as in `edgec explain --pictures`."""
    basis = fit_basis(compared.float32)
    found: list[Shown] = []
    for name, frame, ours, theirs in zip(compared.names, compared.frames, compared.float32, compared.shipped, strict=True):
        if len(found) == most:
            break
        cosine = cosines(ours[None], theirs[None])[0]
        maps = (_photo(frame), *(_map(each) for each in (colours(ours, basis), colours(theirs, basis), heat(cosine))))
        words = f"cosine mean {cosine.mean():.5f}, p01 {np.percentile(cosine, 1):.5f}, smallest {cosine.min():.5f}"
        found.append(Shown(printable(name), words, tuple(zip(CAPTIONS, maps, strict=True))))
    return tuple(found)


def heat_scale() -> str:
    """The colours of the last picture, from what lost 1e-6 to what lost 0.1."""
    low, high = np.log10(_SCALE)
    return _map(heat(1 - 10.0 ** np.linspace(low, high, 64))[None])


def _photo(frame: Bytes) -> str:
    picture = Image.fromarray(frame)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return _uri(picture, "WEBP", quality=70, method=6)


def _map(colour: NDArray[np.uint8]) -> str:
    return _uri(Image.fromarray(colour), "PNG", optimize=True)


def _uri(picture: Image.Image, style: str, **options: Any) -> str:
    file = io.BytesIO()
    picture.save(file, style, **options)
    return f"data:image/{style.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
