"""Text in pictures, the same on every machine. PIL alone, and the font that matplotlib brings along."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from edgec.extras import later

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont
else:
    ImageDraw, ImageFont = later("PIL.ImageDraw"), later("PIL.ImageFont")


Ink = tuple[int, int, int]


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans of that many pixels."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def cut(pen: ImageDraw.ImageDraw, text: str, size: int, room: float) -> str:
    """As much of the text as fits into `room` pixels on one line, with an ellipsis if it is cut."""
    if pen.textlength(text, font(size)) <= room:
        return text
    while text and pen.textlength(f"{text}…", font(size)) > room:
        text = text[:-1]
    return f"{text}…"


def write(pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, room: float, ink: Ink) -> None:
    """One line of text at `at`, cut to `room` pixels."""
    pen.text(at, cut(pen, text, size, room), ink, font(size))
