"""Heads' outputs as PNGs: for each head a sheet with float32's maps beside the shipped ones, and where they differ."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from edgec.extras import later
from edgec.records.reading import printable
from edgec.report.decisions import class_name
from edgec.report.lettering import Ink, write
from edgec.report.maps import CAPTIONS, LARGEST_ERROR, Headed, Maps, Scores, figures, panels, verdict
from edgec.report.overlays import DIFFERENT, LINE, Bytes, Swatch, Swatches, class_swatches, draw_scale

if TYPE_CHECKING:
    from PIL import Image, ImageDraw
else:
    Image, ImageDraw = later("PIL.Image"), later("PIL.ImageDraw")

_PANEL = 360
"""Pixels of a panel's longer side, about: frames are enlarged or made smaller to it."""
_MARGIN, _GAP, _HEAD, _CAPTION = 14, 10, 50, 20
_LEGEND_LINES = 4
_GROUND: Ink = (255, 255, 255)
_INK: Ink = (30, 30, 30)
_FAINT: Ink = (95, 95, 95)
_LISTED = 5


def head_sheets(headed: Headed, title: str) -> Iterator[tuple[str, Image.Image]]:
    """File name and picture for each head that gives masks, depths or classes. `title` says which model in which precision."""
    for number, maps in enumerate(headed.maps, 1):
        yield f"head-{number}-{_file_name(maps.output)}.png", _sheet(headed, maps, title)
    for number, scores in enumerate(headed.scores, len(headed.maps) + 1):
        yield f"head-{number}-{_file_name(scores.output)}.png", _scores_sheet(headed, scores, title)


def _sheet(headed: Headed, maps: Maps, title: str) -> Image.Image:
    width, height = _panel(headed.frames)
    low, high = maps.range
    swatches = class_swatches(tuple(map(printable, maps.classes)), maps.present) if maps.kind == "labels" else ()
    page_width = 2 * _MARGIN + len(CAPTIONS) * (width + _GAP) - _GAP
    legend = Swatches.laid([each.text for each in swatches], page_width - 2 * _MARGIN, _LEGEND_LINES)
    legend_height = LINE * legend.lines + 6 if maps.kind == "labels" else 2 * LINE + 6
    row_height = LINE + height + _GAP
    page = Image.new("RGB", (page_width, _HEAD + legend_height + _CAPTION + len(headed.names) * row_height + _MARGIN), _GROUND)
    pen = ImageDraw.Draw(page)
    _titles(pen, title, f"{printable(maps.output)}: {_about(maps)}", page_width)
    top = _HEAD
    if maps.kind == "labels":
        legend.draw(pen, swatches, _MARGIN, top)
        mark = Swatches.laid(["pixels that differ"], width, 1)
        mark.draw(pen, [Swatch(DIFFERENT, "pixels that differ")], _MARGIN + 3 * (width + _GAP), top + legend_height)
    else:
        draw_scale(page, _MARGIN + width + _GAP, top, 2 * width + _GAP, low, high)
        draw_scale(page, _MARGIN + 3 * (width + _GAP), top, width, 0, LARGEST_ERROR)
    top += legend_height
    for column, caption in enumerate(CAPTIONS):
        if maps.kind != "labels" or column < len(CAPTIONS) - 1:
            text = f"{caption}, share of the depth" if column == len(CAPTIONS) - 1 else caption
            write(pen, (_MARGIN + column * (width + _GAP), top), text, 12, width, _INK)
    top += _CAPTION
    for index, frame in enumerate(headed.frames):
        words = [figures(maps, index), *(verdict(scores, index)[0] for scores in headed.scores)]
        line = f"{printable(headed.names[index])}: {'; '.join(words)}"
        write(pen, (_MARGIN, top + index * row_height), line, 11, page_width - 2 * _MARGIN, _FAINT)
        pictures = (frame, *panels(maps, frame, index, low, high))
        for column, picture in enumerate(pictures):
            position = (_MARGIN + column * (width + _GAP), top + index * row_height + LINE)
            page.paste(_fit(picture, width, height), position)
    return page


def _scores_sheet(headed: Headed, scores: Scores, title: str) -> Image.Image:
    """Beside each frame the classes with the highest scores, float32's and the shipped head's, and whether the first one is the
    same."""
    width, height = _panel(headed.frames)
    height = max(height, (_LISTED + 2) * LINE)
    page_width = 2 * _MARGIN + 3 * (width + _GAP) - _GAP
    row_height = LINE + height + _GAP
    page = Image.new("RGB", (page_width, _HEAD + len(headed.names) * row_height + _MARGIN), _GROUND)
    pen = ImageDraw.Draw(page)
    _titles(pen, title, f"{printable(scores.output)}: scores of classes, the highest first; bars by softmax", page_width)
    for index, frame in enumerate(headed.frames):
        top = _HEAD + index * row_height
        words, same = verdict(scores, index)
        line = f"{printable(headed.names[index])}: {words}"
        write(pen, (_MARGIN, top), line, 11, page_width - 2 * _MARGIN, _FAINT if same else _INK)
        page.paste(_fit(frame, *_panel(headed.frames)), (_MARGIN, top + LINE))
        for column, (caption, values) in enumerate((("float32", scores.float32), ("shipped", scores.shipped)), 1):
            left = _MARGIN + column * (width + _GAP)
            write(pen, (left, top + LINE), caption, 12, width, _INK)
            _bars(pen, scores.classes, values[index], left, top + 2 * LINE, width)
    return page


def _bars(
    pen: ImageDraw.ImageDraw, classes: tuple[str, ...], values: np.ndarray[tuple[int], np.dtype[np.float32]], left: int, top: int,
    width: int,
) -> None:  # fmt: skip
    """Softmax as bars, which suits the scores of any classifier, and the scores themselves as numbers."""
    finite = np.where(np.isfinite(values), values, -np.inf).astype(np.float64)
    if not np.isfinite(finite).any():
        write(pen, (left, top), "no score is finite", 12, width, _INK)
        return
    shares = np.exp(finite - finite.max())
    shares /= shares.sum()
    bar, name = width // 3, width - width // 3 - 60
    for rank, index in enumerate(np.argsort(-finite, kind="stable")[:_LISTED]):
        y = top + rank * LINE
        write(pen, (left, y), class_name(classes, int(index)), 12, name - 6, _INK)
        pen.rectangle((left + name, y + 3, left + name + bar, y + 14), outline=_FAINT)
        pen.rectangle((left + name, y + 3, left + name + round(bar * float(shares[index])), y + 14), fill=(0, 114, 178))
        write(pen, (left + name + bar + 6, y), f"{values[index]:.4g}", 11, 54, _INK)


def _about(maps: Maps) -> str:
    if maps.kind == "labels":
        return "a colour a class, light lines where classes meet"
    return "depth, one scale for all frames and both sides; the difference as a share of float32's depth"


def _titles(pen: ImageDraw.ImageDraw, title: str, summary: str, page_width: int) -> None:
    write(pen, (_MARGIN, 8), title, 14, page_width - 2 * _MARGIN, _INK)
    write(pen, (_MARGIN, 28), summary, 11, page_width - 2 * _MARGIN, _FAINT)


def _panel(frames: Bytes) -> tuple[int, int]:
    """Width and height."""
    height, width = frames.shape[1:3]
    scale = _PANEL / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _fit(picture: Bytes, width: int, height: int) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(picture))
    smaller = image.width > width
    return image.resize((width, height), Image.Resampling.LANCZOS if smaller else Image.Resampling.NEAREST)


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40] or "head"
