"""A contact sheet: a calibration set's frames in one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgec.durable import publish, scratch
from edgec.errors import CalibrationError
from edgec.extras import later
from edgec.frames.fitting import fit
from edgec.frames.sampling import evenly
from edgec.frames.types import FrameSet, Split
from edgec.model.spec import Size
from edgec.paths import is_special
from edgec.untrusted import printable

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont
else:
    Image, ImageDraw, ImageFont = later("PIL.Image"), later("PIL.ImageDraw"), later("PIL.ImageFont")

COLUMNS = 8
MOST = 160
"""Frames on a sheet; of a larger set evenly spread ones are shown."""

_CELL = Size(120, 160)
_CAPTION, _HEADER, _BORDER = 16, 40, 3
_GROUND, _INK, _FAINT = (24, 24, 24), (235, 235, 235), (150, 150, 150)
_CALIBRATION, _VALIDATION, _UNUSED, _DAMAGED = (70, 140, 230), (245, 160, 40), (80, 80, 80), (220, 60, 60)


def write_sheet(frameset: FrameSet, parts: Split | None, path: Path) -> int:
    """Writes the sheet as PNG or JPEG, by the path's suffix, whole or not at all; returns how many frames are on it.

    Frames are letterboxed, so that nothing of them is hidden. Their border says which side of the split they are on; damaged ones
    are red cells. Raises `CalibrationError` if the suffix is another or the file cannot be written.
    """
    kind = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}.get(path.suffix.lower())
    if kind is None:
        raise CalibrationError(f"A contact sheet is written as .png or .jpg, not as {path.name!r}.")
    if is_special(path):
        raise CalibrationError(f"{path} is a device, a pipe or a socket.", remedy="choose another file")
    sheet, shown = _draw(frameset, parts)
    try:
        with scratch(path.parent) as work:
            sheet.save(work / path.name, kind)
            publish(work / path.name, path)
    except OSError as error:
        raise CalibrationError(f"The contact sheet {path} cannot be written.", evidence=error.strerror or str(error)) from error
    return shown


def _draw(frameset: FrameSet, parts: Split | None) -> tuple[Image.Image, int]:
    colours = {frame.name: _CALIBRATION for frame in parts.calibration} if parts else {}
    colours |= {frame.name: _VALIDATION for frame in parts.validation} if parts else {}
    frames = evenly(frameset.frames, MOST)
    count = len(frames)
    cells = len(frames) + len(frameset.skipped[:COLUMNS])
    wide, high = _CELL.width + 2 * _BORDER, _CELL.height + 2 * _BORDER + _CAPTION
    sheet = Image.new("RGB", (COLUMNS * wide, _HEADER + -(-cells // COLUMNS) * high), _GROUND)
    pen = ImageDraw.Draw(sheet)
    font, title = ImageFont.load_default(11), ImageFont.load_default(14)

    some = f"{count} of {len(frameset.frames)}" if count < len(frameset.frames) else str(count)
    pen.text((6, 4), f"{printable(frameset.name)}: {some} frames, sha256 {frameset.sha256[:16]}", _INK, title)
    legend = 6
    for text, colour in (
        ("calibration", _CALIBRATION), ("validation", _VALIDATION), ("used for neither", _UNUSED), ("damaged", _DAMAGED),
    ):  # fmt: skip
        pen.rectangle((legend, 25, legend + 10, 35), fill=colour)
        pen.text((legend + 15, 23), text, _FAINT, font)
        legend += 30 + int(pen.textlength(text, font))

    def cell(place: int, colour: tuple[int, int, int], name: str) -> tuple[int, int]:
        left, top = place % COLUMNS * wide, _HEADER + place // COLUMNS * high
        pen.rectangle((left, top, left + wide - 1, top + high - _CAPTION - 1), outline=colour, width=_BORDER)
        pen.text((left + _BORDER, top + high - _CAPTION + 1), _fitting(pen, font, name), _FAINT, font)
        return left + _BORDER, top + _BORDER

    for place, frame in enumerate(frames):
        try:
            picture = Image.fromarray(fit(frame.read(), _CELL, "pad"))
        except CalibrationError as error:
            corner = cell(place, _DAMAGED, frame.name)
            pen.text(corner, _fitting(pen, font, "; ".join(error.evidence)), _DAMAGED, font)
            continue
        sheet.paste(picture, cell(place, colours.get(frame.name, _UNUSED), frame.name))
    for place, (name, reason) in enumerate(frameset.skipped[:COLUMNS], len(frames)):
        pen.text(cell(place, _DAMAGED, name), _fitting(pen, font, reason), _DAMAGED, font)
    return sheet, len(frames)


def _fitting(pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str) -> str:
    """As much of the end of a text as fits: names of frames differ at the end."""
    text = printable(text)
    if pen.textlength(text, font) <= _CELL.width:
        return text
    while text and pen.textlength("…" + text, font) > _CELL.width:
        text = text[1:]
    return "…" + text
