"""Pictures small enough to be part of the page: features, a pixel a patch, and heads' outputs drawn over frames."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgec.extras import later
from edgec.onboard.vectorised import cosines
from edgec.records.reading import printable
from edgec.report.html.subjects import Subject
from edgec.report.maps import CAPTIONS as MAP_CAPTIONS
from edgec.report.maps import LARGEST_ERROR, Headed, Maps, figures, panels, verdict
from edgec.report.overlays import DIFFERENT, class_swatches, draw_differences, fitted, ramp
from edgec.report.pictures import CAPTIONS, DECADES, Bytes, Compared, colours, cosine_words, fit_basis, heat

if TYPE_CHECKING:
    from PIL import Image
else:
    Image = later("PIL.Image")

_MOST, _SHARED = 4, 24
"""Frames of a report, and about how many of a whole page."""
_MOST_MAPS, _SHARED_MAPS = 6, 30
"""The same for rows of heads' pictures, which are larger."""
_MOST_SWATCHES = 40
_SIDE, _SMALL_SIDE = 240, 112
"""Pixels of a photograph's longer side; the latter where a page has so many reports that each shows one frame of a head."""


def maps_each(subjects: list[Subject]) -> int:
    """How many rows of heads' pictures each report on a page of all these shows, one a head at least."""
    drawn = sum(subject.heads is not None and bool(subject.heads.maps) for subject in subjects)
    return max(1, min(_MOST_MAPS, _SHARED_MAPS // max(drawn, 1)))


def shown_heads(headed: Headed, most: int) -> dict[str, Any]:
    """What the template shows of heads' outputs: about `most` rows of pictures, shared out among the heads, but one of each at
    least; and of every frame and classifier, what both sides chose, and whether it is the same class."""
    each = max(1, most // max(len(headed.maps), 1))
    verdicts = [
        (f"{printable(name)}, {words}", same)
        for scores in headed.scores
        for index, name in enumerate(headed.names)
        for words, same in (verdict(scores, index),)
    ]
    return {
        "heads": [_shown_head(headed, maps, each, _SIDE if most > 1 else _SMALL_SIDE) for maps in headed.maps],
        "verdicts": verdicts,
        "undrawn": headed.undrawn,
        "all_frames": len(headed.names),
    }


def _shown_head(headed: Headed, maps: Maps, most: int, side: int) -> dict[str, Any]:
    """`swatches` are colours, as CSS writes them, and names. `scale` is a picture of the depths' colours with the words at its
    ends, `errors` the same of the differences."""
    low, high = maps.range
    frames = []
    for index in range(min(most, len(headed.names))):
        frame = headed.frames[index]
        ours, theirs, differences = panels(maps, frame, index, low, high)
        if maps.kind == "labels":
            differences = _small_differences(frame, maps.float32[index] != maps.shipped[index], side)
        pictures = (frame, ours, theirs, differences)
        uris = zip(MAP_CAPTIONS, (_photo(picture, side) for picture in pictures), strict=True)
        frames.append(_frame(headed.names[index], figures(maps, index), uris))
    swatches: list[tuple[str, str]] = []
    scale: tuple[str, str, str] | None = None
    errors: tuple[str, str, str] | None = None
    more = 0
    if maps.kind == "labels":
        swatches = [(_css(each.colour), each.text) for each in class_swatches(tuple(map(printable, maps.classes)), maps.present)]
        swatches = [*swatches[:_MOST_SWATCHES], (_css(DIFFERENT), "pixels that differ")]
        more = max(0, len(maps.classes) - _MOST_SWATCHES)
    else:
        strip = _map(ramp(np.linspace(0, 1, 64), 0, 1)[None])
        scale = strip, f"at most {low:.3g}", f"at least {high:.3g}"
        errors = strip, "0", f"{LARGEST_ERROR:.0%} of the depth or more"
    return {
        "output": printable(maps.output),
        "frames": frames,
        "swatches": swatches,
        "more": more,
        "scale": scale,
        "errors": errors,
    }


def _frame(name: str, words: str, pictures: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """One frame: its figures in words, and caption and data URI of each picture."""
    return {"name": printable(name), "figures": words, "pictures": list(pictures)}


def _small_differences(frame: Bytes, differs: NDArray[np.bool_], side: int) -> Bytes:
    """The frame is made small before pixels are marked: a single marked pixel of a large frame would be lost."""
    height, width = frame.shape[:2]
    differs = fitted(differs, height, width)
    factor = -(-max(height, width) // side)
    rows, columns = -(-height // factor), -(-width // factor)
    padded = np.pad(differs, ((0, rows * factor - height), (0, columns * factor - width)))
    small = np.asarray(Image.fromarray(frame).resize((columns, rows), Image.Resampling.LANCZOS))
    return draw_differences(small, np.asarray(padded.reshape(rows, factor, columns, factor).max(axis=(1, 3))))


def _css(colour: tuple[int, int, int]) -> str:
    return f"rgb({colour[0]} {colour[1]} {colour[2]})"


def frames_each(subjects: list[Subject]) -> int:
    """How many frames of each report a page of all these shows."""
    drawn = sum(subject.pictures is not None for subject in subjects)
    return max(1, min(_MOST, _SHARED // max(drawn, 1)))


def shown(compared: Compared, most: int) -> list[dict[str, Any]]:
    """The first `most` frames. Colours are fitted to all, as in `edgec explain --pictures`."""
    basis = fit_basis(compared.float32)
    frames: list[dict[str, Any]] = []
    for name, frame, ours, theirs in zip(compared.names, compared.frames, compared.float32, compared.shipped, strict=True):
        if len(frames) == most:
            break
        cosine = cosines(ours[None], theirs[None])[0]
        maps = (_photo(frame), *(_map(each) for each in (colours(ours, basis), colours(theirs, basis), heat(cosine))))
        frames.append(_frame(name, cosine_words(cosine), zip(CAPTIONS, maps, strict=True)))
    return frames


def heat_scale() -> str:
    """The colours of the last picture, from what lost 1e-6 to what lost 0.1."""
    return _map(heat(1 - 10.0 ** np.linspace(*DECADES, 64))[None])


def _photo(frame: Bytes, side: int = _SIDE) -> str:
    picture = Image.fromarray(frame)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _uri(picture, "WEBP", quality=70, method=6)


def _map(colour: NDArray[np.uint8]) -> str:
    return _uri(Image.fromarray(colour), "PNG", optimize=True)


def _uri(picture: Image.Image, style: str, **options: Any) -> str:
    file = io.BytesIO()
    picture.save(file, style, **options)
    return f"data:image/{style.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
