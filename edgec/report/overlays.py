"""Label maps and depth maps drawn over the frames that they were made of, and the legends to them: for reports, for
`edgec explain --pictures`, and for `edgec run`.

Functions from arrays to arrays, numpy and PIL only: a frame is uint8 [H, W, 3], a label map int [H, W], a depth map float
[H, W]; what comes out is uint8 [H, W, 3]. A class has the same colour in every picture of every model, by its index: Okabe and
Ito's palette, which people tell apart who do not tell red from green. Depth goes by viridis, whose lightness alone says as much.

`draw_labels(frame, labels, classes)`, `draw_depth(frame, depth, low, high)`; `draw_differences` marks pixels; `Swatches` and
`draw_scale` are legends on a PIL picture. Class names come from files: give them through `edgec.records.reading.printable`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgec.extras import later
from edgec.report.lettering import cut, font

if TYPE_CHECKING:
    from PIL import Image, ImageDraw
else:
    Image, ImageDraw = later("PIL.Image"), later("PIL.ImageDraw")

Bytes = NDArray[np.uint8]
Labels = NDArray[np.signedinteger[Any]]
Depth = NDArray[np.floating[Any]]
Colour = tuple[int, int, int]
_T = TypeVar("_T", bound=np.generic)

_OKABE_ITO: Final[tuple[Colour, ...]] = (
    *((86, 180, 233), (230, 159, 0), (0, 158, 115), (240, 228, 66)),
    *((0, 114, 178), (213, 94, 0), (204, 121, 167)),
)
"""Okabe and Ito, Color Universal Design, 2008, without black."""
_SHADES: Final = (0.0, -0.45, 0.5, -0.7, 0.75)
"""The palette again, darker and lighter, for heads with more classes. Then colours repeat, and the legend tells which is
which."""
PERIOD: Final = len(_OKABE_ITO) * len(_SHADES)
UNKNOWN: Final[Colour] = (128, 128, 128)
"""For labels that name no class."""
HOLE: Final[Colour] = (0, 0, 0)
"""For depths that are not finite."""
DIFFERENT: Final[Colour] = (255, 0, 255)
"""For pixels that differ: no class has this colour."""
_OPACITY: Final = 0.5
_DEPTH_OPACITY: Final = 0.85
_LEVELS: Final = 256

SWATCH, LINE = 12, 20
"""Pixels of a legend: a swatch's side, and from one line to the next."""
_SIZE, _SPACE = 12, 14
_INK, _FAINT = (30, 30, 30), (95, 95, 95)


def class_colour(index: int) -> Colour:
    """The colour of the class with this index; `UNKNOWN` for an index below 0."""
    if index < 0:
        return UNKNOWN
    base = _OKABE_ITO[index % len(_OKABE_ITO)]
    shade = _SHADES[index // len(_OKABE_ITO) % len(_SHADES)]
    towards = 255 if shade > 0 else 0
    red, green, blue = (round(part + (towards - part) * abs(shade)) for part in base)
    return red, green, blue


def tints(labels: Labels, classes: int = 0) -> Bytes:
    """Labels [...] as their classes' colours [..., 3]. Labels below 0 and, where `classes` is given, from there on are
    `UNKNOWN`."""
    # Colours repeat, so that a short table is enough for all labels; its last entry is for labels that name no class.
    table = np.array([*(class_colour(index) for index in range(PERIOD)), UNKNOWN], np.uint8)
    nameless = (labels < 0) | (labels >= classes) if classes else labels < 0
    colours: Bytes = table[np.where(nameless, PERIOD, labels % PERIOD)]
    return colours


def draw_labels(frame: Bytes, labels: Labels, classes: int = 0) -> Bytes:
    """The frame's brightness under the colours of its label map, with a light line where classes meet. The frame's own colours
    would look like classes. A map of another size than the frame is enlarged to it without smoothing."""
    labels = fitted(labels, frame.shape[0], frame.shape[1])
    mixed = _mixed(_grey(frame), tints(labels, classes), _OPACITY)
    edges = np.zeros(labels.shape, bool)
    edges[1:] |= labels[1:] != labels[:-1]
    edges[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    mixed[edges] = 255
    return mixed


def draw_depth(frame: Bytes, depth: Depth, low: float, high: float) -> Bytes:
    """The depth map over the frame's brightness, of which just enough is left to recognise the scene. Pictures that are to be
    compared need the same `low` and `high`; depths beyond either have the colour of that end."""
    depth = fitted(depth, frame.shape[0], frame.shape[1])
    mixed = _mixed(_grey(frame), ramp(depth, low, high), _DEPTH_OPACITY)
    mixed[~np.isfinite(depth)] = HOLE
    return mixed


def draw_differences(frame: Bytes, differs: NDArray[np.bool_]) -> Bytes:
    """The frame, pale and grey, with the pixels marked where `differs` [H, W] is true: at least three pixels wide, so that a
    single one is seen."""
    pale: Bytes = (128 + _grey(frame) // 2).astype(np.uint8)
    pale[_spread(fitted(differs, frame.shape[0], frame.shape[1]))] = DIFFERENT
    return pale


def ramp(values: Depth, low: float, high: float) -> Bytes:
    """Values [...] as uint8 RGB [..., 3]: from `low`, dark blue, to `high`, yellow; what is not finite is `HOLE`."""
    with np.errstate(invalid="ignore", over="ignore"):
        shares = (values.astype(np.float64) - low) / max(high - low, 1e-12)
    finite = np.isfinite(values)
    colours: Bytes = _viridis()[((_LEVELS - 1) * np.clip(np.where(finite, shares, 0), 0, 1) + 0.5).astype(np.uint8)]
    colours[~finite] = HOLE
    return colours


def depth_range(maps: Iterable[Depth]) -> tuple[float, float]:
    """`low` and `high` for maps that are drawn together: their first and 99th percentile, because a single
    pixel would decide the smallest and largest depth; 0 and 1 where nothing is finite."""
    values = np.concatenate([each[np.isfinite(each)].ravel().astype(np.float64) for each in maps])
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, (1, 99)))
    return low, max(high, low + 1e-6 * max(1.0, abs(low)))


def fitted(plane: NDArray[_T], height: int, width: int) -> NDArray[_T]:
    """[h, w] as [height, width], each pixel the nearest one's."""
    if plane.shape == (height, width):
        return plane
    rows = np.arange(height) * plane.shape[0] // height
    columns = np.arange(width) * plane.shape[1] // width
    resized: NDArray[_T] = plane[rows[:, None], columns]
    return resized


def _grey(frame: Bytes) -> Bytes:
    grey: Bytes = np.repeat(frame.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    return grey


def _mixed(frame: Bytes, colours: Bytes, opacity: float) -> Bytes:
    mixed: Bytes = ((1 - opacity) * frame.astype(np.float32) + opacity * colours.astype(np.float32) + 0.5).astype(np.uint8)
    return mixed


def _spread(marks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    spread: NDArray[np.bool_] = marks.copy()
    for axis in (0, 1):
        before = spread.copy()
        forward, backward = (np.moveaxis(each, axis, 0) for each in (spread, before))
        forward[1:] |= backward[:-1]
        forward[:-1] |= backward[1:]
    return spread


@cache
def _viridis() -> Bytes:
    from matplotlib import colormaps

    shades: Bytes = colormaps["viridis"](np.arange(_LEVELS), bytes=True)
    return np.ascontiguousarray(shades[:, :3])


# --- legends


@dataclass(frozen=True)
class Swatch:
    """A colour and what it stands for."""

    colour: Colour
    text: str


def class_swatches(classes: Sequence[str], present: Iterable[int] = ()) -> tuple[Swatch, ...]:
    """One for each class by its index; of a head without names, and of labels that none of its names belongs to, one for each
    that is `present`. `classes` are printable."""
    others = sorted({index for index in map(int, present) if not 0 <= index < len(classes)})
    known = [Swatch(class_colour(index), name) for index, name in enumerate(classes)]
    named = bool(classes)
    return (*known, *(Swatch(UNKNOWN if named else class_colour(index), f"no class ({index})" if named or index < 0 else
                             f"class {index}") for index in others))  # fmt: skip


@dataclass(frozen=True)
class Swatches:
    """A legend as it fits into `room` pixels: `places` are x, line and text of each swatch that is shown, `more` the same of what
    says how many are not."""

    places: tuple[tuple[int, int, str], ...]
    more: tuple[int, int, str] | None
    lines: int

    @staticmethod
    def laid(texts: Sequence[str], room: int, most_lines: int) -> Swatches:
        """A legend of these texts, cut and wrapped to `room` pixels and at most `most_lines` lines."""
        pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
        places: list[tuple[int, int, str]] = []
        x = line = 0
        for index, whole in enumerate(texts):
            left_over = len(texts) - index
            text = cut(pen, whole, _SIZE, room // 2)
            width = SWATCH + 5 + math.ceil(pen.textlength(text, font(_SIZE)))
            last = line == most_lines - 1
            spare = math.ceil(pen.textlength(f"and {left_over} more", font(_SIZE))) + _SPACE if last and left_over > 1 else 0
            if x and x + width + spare > room:
                if last:
                    return Swatches(tuple(places), (x, line, f"and {left_over} more"), line + 1)
                x, line = 0, line + 1
            places.append((x, line, text))
            x += width + _SPACE
        return Swatches(tuple(places), None, line + 1 if places else 0)

    def draw(self, pen: ImageDraw.ImageDraw, swatches: Sequence[Swatch], left: int, top: int) -> None:
        """`swatches` are those that it was laid out for, in the same order."""
        for swatch, (x, line, text) in zip(swatches, self.places, strict=False):
            y = top + line * LINE
            pen.rectangle((left + x, y + 2, left + x + SWATCH, y + 2 + SWATCH), fill=swatch.colour, outline=_FAINT)
            pen.text((left + x + SWATCH + 5, y), text, _INK, font(_SIZE))
        if self.more is not None:
            x, line, text = self.more
            pen.text((left + x, top + line * LINE), text, _FAINT, font(_SIZE))


def draw_scale(page: Image.Image, left: int, top: int, width: int, low: float, high: float) -> None:
    """Depth's colours from left to right, with their ends and middle under them: 12 pixels of colour and 16 of text. Nothing is
    below a `low` of 0."""
    strip = ramp(np.linspace(low, high, width, dtype=np.float32), low, high)
    page.paste(Image.fromarray(np.ascontiguousarray(np.broadcast_to(strip, (SWATCH, width, 3)))), (left, top))
    pen = ImageDraw.Draw(page)
    ends = (
        (0, f"≤ {low:.3g}" if low else "0", "la"),
        (width // 2, f"{(low + high) / 2:.3g}", "ma"),
        (width - 1, f"≥ {high:.3g}", "ra"),
    )
    for x, text, anchor in ends:
        pen.text((left + x, top + SWATCH + 2), text, _INK, font(11), anchor=anchor)
