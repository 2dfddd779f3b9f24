"""Patch features as pictures: the float32 model's and the artefact's side by side, and where they differ.

The three directions in which the float32 features of all frames vary most become red, green and blue (PCA). The artefact's
features are put through the very same directions and scaling, so that equal features are equal pixels and damage shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgec.durable import publish, scratch
from edgec.errors import EdgecError
from edgec.extras import later
from edgec.onboard.figures import kept
from edgec.onboard.vectorised import cosines
from edgec.report.cells import shortened
from edgec.report.lettering import Ink, font, write

if TYPE_CHECKING:
    from PIL import Image, ImageDraw
else:
    Image, ImageDraw = later("PIL.Image"), later("PIL.ImageDraw")

SHEET = "sheet.png"
CAPTIONS = ("frame", "float32", "shipped", "cosine of each patch")
_PERCENTILES = (1, 99)
DECADES = (-6, -1)
"""The heat map's colours go by the logarithm of 1 minus the cosine, from 1e-6 to 0.1, in every picture: pictures compare."""
_PANEL = 280
_NAME = 70
_MARGIN, _GAP, _HEAD, _CAPTION, _LINE, _BAR, _SCALE = 14, 10, 46, 20, 20, 16, 84
_GROUND: Ink = (255, 255, 255)
_INK: Ink = (30, 30, 30)
_FAINT: Ink = (110, 110, 110)

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Compared:
    """M frames, uint8 [M, H, W, 3], and the patch features of each, float32 [M, rows, columns, D]."""

    names: tuple[str, ...]
    frames: Bytes
    float32: Floats
    shipped: Floats


@dataclass(frozen=True)
class Basis:
    """`centre` [D], `directions` [D, 3]; `low` and `high` [3] are the values that become 0 and 255 of each colour."""

    centre: Floats
    directions: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Layout:
    """Positions on a picture of `count` frames with a grid of `rows` x `columns` patches. Patches are square."""

    rows: int
    columns: int
    count: int

    @property
    def patch(self) -> int:
        """A patch's side in pixels: whole, so that panels of equal features are equal pixel by pixel."""
        return max(1, round(_PANEL / max(self.rows, self.columns)))

    @property
    def panel(self) -> tuple[int, int]:
        """Width and height."""
        return self.columns * self.patch, self.rows * self.patch

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole picture in pixels."""
        width = 2 * _MARGIN + len(CAPTIONS) * (self.panel[0] + _GAP) + _BAR + _SCALE
        return width, _HEAD + _CAPTION + self.count * (_LINE + self.panel[1] + _GAP) + _MARGIN

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the panel of one of `CAPTIONS` for one frame."""
        (width, height), top = self.panel, _HEAD + _CAPTION + _LINE
        left, upper = _MARGIN + column * (width + _GAP), top + row * (_LINE + height + _GAP)
        return left, upper, left + width, upper + height


def fit_basis(features: Floats) -> Basis:
    """The principal components of the patches, float32 [..., D], of all frames together. Signs are settled, so that the same
    features give the same basis."""
    flat = features.reshape(-1, features.shape[-1])
    centre = flat.mean(axis=0)
    centred = flat - centre
    _, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    directions = vectors[:, :-4:-1]
    directions = directions * np.sign(directions[np.abs(directions).argmax(axis=0), range(directions.shape[1])])
    projected = centred @ directions.astype(np.float32)
    low, high = np.percentile(projected, _PERCENTILES, axis=0).astype(np.float32)
    return Basis(centre, directions.astype(np.float32), low, np.maximum(high, low + 1e-6))


def colours(features: Floats, basis: Basis) -> Bytes:
    """float32 [..., D] as uint8 RGB [..., 3]; what is not finite is black."""
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = ((features - basis.centre) @ basis.directions - basis.low) / (basis.high - basis.low)
    whole = np.isfinite(scaled).all(axis=-1, keepdims=True)
    return (255 * np.clip(np.where(whole, scaled, 0), 0, 1) + 0.5).astype(np.uint8)


def heat(cosine: NDArray[np.float64]) -> Bytes:
    """Cosines [...] as uint8 RGB [..., 3]: the brighter, the more is lost."""
    from matplotlib import colormaps

    low, high = DECADES
    share = (np.log10(np.maximum(1 - cosine, 1e-12)) - low) / (high - low)
    shades: Bytes = colormaps["inferno"](np.clip(share, 0, 1), bytes=True)
    return shades[..., :3]


def write_pictures(compared: Compared, title: str, directory: Path) -> tuple[Path, ...]:
    """A PNG for each frame and `sheet.png` of all, into `directory`, which is made if need be. Files of these names are replaced.

    `title` says which model in which precision. Raises `EdgecError` if they cannot be written.
    """
    return write_pages(feature_pages(compared, title), directory)


def feature_pages(compared: Compared, title: str) -> dict[str, Image.Image]:
    """Pictures by file name; the last is the sheet of all frames."""
    basis = fit_basis(compared.float32)
    cosine = cosines(compared.float32, compared.shipped)
    panels = [
        (frame, colours(ours, basis), colours(theirs, basis), heat(lost))
        for frame, ours, theirs, lost in zip(compared.frames, compared.float32, compared.shipped, cosine, strict=True)
    ]
    lines = [f"{shortened(name, _NAME, 0)}: {cosine_words(each)}" for name, each in zip(compared.names, cosine, strict=True)]
    pages = {
        f"{number:02d}-{_file_name(name)}.png": _page(title, "", [panels[number - 1]], [lines[number - 1]])
        for number, name in enumerate(compared.names, 1)
    }
    pages[SHEET] = _page(title, f"all {len(panels)} frames: {cosine_words(cosine)}", panels, lines)
    return pages


def write_pages(pages: Mapping[str, Image.Image], directory: Path) -> tuple[Path, ...]:
    """Writes them as PNGs of these names, all or none. Raises `EdgecError` if they cannot be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with scratch(directory) as work:
            for name, page in pages.items():
                page.save(work / name, "PNG")
            for name in pages:
                publish(work / name, directory / name)
    except OSError as error:
        raise EdgecError(
            f"The pictures could not be written to {directory}.",
            evidence=error.strerror or str(error),
            remedy="choose a folder that you may write",
        ) from error
    return tuple(directory / name for name in pages)


def _page(title: str, summary: str, panels: Sequence[tuple[Bytes, Bytes, Bytes, Bytes]], lines: Sequence[str]) -> Image.Image:
    rows, columns = panels[0][1].shape[:2]
    layout = Layout(rows, columns, len(panels))
    page = Image.new("RGB", layout.size, _GROUND)
    pen = ImageDraw.Draw(page)
    _write(pen, (_MARGIN, 8), title, 14, layout, _INK)
    _write(pen, (_MARGIN, 28), summary or "colours: the three main directions of the float32 features", 11, layout, _FAINT)
    for column, caption in enumerate(CAPTIONS):
        _write(pen, (layout.box(0, column)[0], _HEAD), caption, 12, layout, _INK)
    for row, (frame, *maps) in enumerate(panels):
        left, top, right, _ = layout.box(row, 0)
        _write(pen, (left, top - _LINE + 2), lines[row], 11, layout, _FAINT)
        page.paste(Image.fromarray(frame).resize(layout.panel, Image.Resampling.LANCZOS), (left, top))
        for column, picture in enumerate(maps, 1):
            large = Image.fromarray(picture).resize(layout.panel, Image.Resampling.NEAREST)
            page.paste(large, layout.box(row, column)[:2])
        _, top, right, bottom = layout.box(row, len(CAPTIONS) - 1)
        _draw_scale(page, pen, right + _GAP, top, bottom)
    return page


def _draw_scale(page: Image.Image, pen: ImageDraw.ImageDraw, left: int, top: int, bottom: int) -> None:
    low, high = DECADES
    exponents = np.linspace(high, low, bottom - top)
    column = heat(1 - 10.0**exponents)[:, None].repeat(_BAR, axis=1)
    page.paste(Image.fromarray(column), (left, top))
    for exponent in range(low, high + 1):
        y = top + round((high - exponent) / (high - low) * (bottom - top - 1))
        pen.line((left + _BAR, y, left + _BAR + 3, y), _INK)
        mark = f"{1 - 10.0**exponent:g}" if exponent > low else f"{1 - 10.0**exponent:.{-low}f}"
        text = f"\N{LESS-THAN OR EQUAL TO} {mark}" if exponent == high else mark
        pen.text((left + _BAR + 7, min(max(y, top + 5), bottom - 5)), text, _INK, font(10), anchor="lm")


def cosine_words(cosine: NDArray[np.float64]) -> str:
    """Mean, first percentile and smallest, of any number of patches."""
    mean, low, least = (kept(float(value)) for value in (cosine.mean(), np.percentile(cosine, 1), cosine.min()))
    return f"cosine mean {mean}, worst 1 % {low}, smallest {least}"


def _write(pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, layout: Layout, ink: Ink) -> None:
    write(pen, at, text, size, layout.size[0] - at[0] - _MARGIN, ink)


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", re.sub(r"\.[A-Za-z]+$", "", name)).strip("-")[-40:] or "frame"
