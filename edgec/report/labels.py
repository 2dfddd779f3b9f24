"""Where the labels of a scatter plot go, so that none lies on another label, on a mark, or outside.

By hand: Vega-Lite places no labels, and textalloc, tried on matplotlib's axes, draws lines along whiskers and, of twenty names,
puts some on marks. Boxes are tuples: matplotlib's `Bbox` has the same operations, and a picture takes too many of them for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.text import Annotation

_DISTANCES = (3, 8, 15, 24, 35, 48, 64, 82, 105, 130, 160, 195, 235, 280)
"""Points between a mark's edge and its label."""
_DIRECTIONS = 24
_LINE_FROM = 8
"""Nearer labels need no line to their mark."""
_LONG = 20
_GAP = 2.0
_FONT = 8.0
_ROUNDS = 4
"""A label that was placed early may find a better place once all others have theirs."""

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""
Spot = tuple[float, float]
Line = tuple[Spot, Spot]
Path = Sequence[Spot]


@dataclass(frozen=True)
class Label:
    """`text` belongs to the mark at `at`, whose whisker ends at `until`, both in data coordinates. `radius` is the mark's, in
    points."""

    text: str
    at: Spot
    until: Spot
    radius: float
    bold: bool


def place_labels(axes: Axes, labels: Sequence[Label], renderer: RendererAgg, avoid: Sequence[Path] = ()) -> list[Annotation]:
    """Writes each label near its mark or, where there is no room, further away with a thin line to it.

    `avoid` are lines of the picture, in data coordinates, that labels should not lie on. The axes must have been drawn, so that
    their scales are fixed. Bold labels are placed first. A label for which there is no room at all is written where it covers
    least.
    """
    unit = axes.figure.dpi / 72
    frame = axes.get_window_extent(renderer)
    inside: Box = (frame.x0 / unit + 2, frame.y0 / unit + 2, frame.x1 / unit - 2, frame.y1 / unit - 2)
    marks = [_points(axes, label.at, unit) for label in labels]
    ends = [_points(axes, label.until, unit) for label in labels]
    taken = [_grown((*mark, *mark), label.radius) for mark, label in zip(marks, labels, strict=True)]
    whiskers = [_grown((*mark, *end), 2) for mark, end in zip(marks, ends, strict=True)]
    texts = [text.get_window_extent(renderer) for text in axes.texts]
    written: list[Box] = [(text.x0 / unit, text.y0 / unit, text.x1 / unit, text.y1 / unit) for text in texts]
    faint = [line for path in avoid for line in pairwise([_points(axes, spot, unit) for spot in path])]
    sizes = [_size(label, renderer, unit) for label in labels]
    order = sorted(range(len(labels)), key=lambda index: (not labels[index].bold, labels[index].at))
    boxes: dict[int, Box] = {}
    for _ in range(_ROUNDS):
        before = dict(boxes)
        for index in order:
            others = [box for other, box in boxes.items() if other != index]
            lines = [line for other, box in boxes.items() if other != index and (line := _line(labels[other], marks[other], box))]
            # A mark that lies on this one would be crossed by every line.
            crossed = [box for box in taken if not _shared(box, taken[index])] + written + others
            surroundings = _Surroundings(inside, (*taken, *whiskers, *written, *others), crossed, lines, faint)
            boxes[index] = _best(surroundings, marks[index], labels[index].radius, sizes[index])
        if boxes == before:
            break
    return [_write(axes, labels[index], marks[index], box) for index, box in boxes.items()]


@dataclass(frozen=True)
class _Surroundings:
    inside: Box
    hidden: Sequence[Box]
    """What a label must not lie on."""
    crossed: Sequence[Box]
    """What its line must not cross."""
    lines: Sequence[Line]
    faint: Sequence[Line]

    def cost(self, box: Box, mark: Spot) -> float:
        """The distance, and much more for what the label hides, what its line crosses, and what sticks out."""
        line = (mark, _nearest(box, mark))
        grown = _grown(box, _GAP)
        outside = sum(max(0, self.inside[side] - box[side]) + max(0, box[2 + side] - self.inside[2 + side]) for side in (0, 1))
        crossings = sum(_meet(line, other) for other in self.crossed)
        crossings += sum(_meet(other, grown) or _cross(line, other) for other in self.lines)
        return (
            math.dist(*line)
            + 50 * sum(_shared(grown, other) for other in self.hidden)
            + 1e4 * outside
            + 200 * crossings
            + 60 * (math.dist(*line) > _LONG and _level(line))  # it would look like a whisker
            + sum((90 if _level(other) else 12) * _meet(other, grown) for other in self.faint)
        )


def _best(surroundings: _Surroundings, mark: Spot, radius: float, size: Spot) -> Box:
    """Of all boxes around the mark the cheapest. Nothing further off can be cheaper than its distance."""
    width, height = size
    best = (math.inf, (*mark, *mark))
    for distance in _DISTANCES:
        if best[0] <= distance:
            break
        for step in range(_DIRECTIONS):
            angle = math.tau * step / _DIRECTIONS
            x = mark[0] + math.cos(angle) * (radius + distance + width / 2)
            y = mark[1] + math.sin(angle) * (radius + distance + height / 2)
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            best = min(best, (surroundings.cost(box, mark), box))
    return best[1]


def _write(axes: Axes, label: Label, mark: Spot, box: Box) -> Annotation:
    offset = ((box[0] + box[2]) / 2 - mark[0], (box[1] + box[3]) / 2 - mark[1])
    end = _nearest(box, mark)
    corner = ((end[0] - box[0]) / (box[2] - box[0]), (end[1] - box[1]) / (box[3] - box[1]))
    line: dict[str, Any] = {"arrowstyle": "-", "linewidth": 0.6, "color": "#777777", "relpos": corner}
    line |= {"shrinkA": 0, "shrinkB": label.radius}
    return axes.annotate(
        label.text, label.at, offset, textcoords="offset points", ha="center", va="center", fontsize=_FONT, zorder=6,
        fontweight=_weight(label), annotation_clip=False, arrowprops=line if _line(label, mark, box) else None,
    )  # fmt: skip


def _line(label: Label, mark: Spot, box: Box) -> Line | None:
    line = (mark, _nearest(box, mark))
    return line if math.dist(*line) > label.radius + _LINE_FROM else None


def _size(label: Label, renderer: RendererAgg, unit: float) -> Spot:
    from matplotlib.font_manager import FontProperties

    font = FontProperties(size=_FONT, weight=_weight(label))
    width, height, _ = renderer.get_text_width_height_descent(label.text, font, ismath=False)  # type: ignore[no-untyped-call]
    return width / unit, max(height / unit, _FONT)


def _weight(label: Label) -> str:
    return "bold" if label.bold else "normal"


def _points(axes: Axes, spot: Spot, unit: float) -> Spot:
    x, y = axes.transData.transform(spot)
    return float(x) / unit, float(y) / unit


def _grown(box: Box, by: float) -> Box:
    return box[0] - by, box[1] - by, box[2] + by, box[3] + by


def _shared(one: Box, other: Box) -> float:
    """The area that both cover."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0)


def _nearest(box: Box, spot: Spot) -> Spot:
    return min(max(spot[0], box[0]), box[2]), min(max(spot[1], box[1]), box[3])


def _meet(line: Line, box: Box) -> bool:
    enter, leave = 0.0, 1.0
    for side in (0, 1):
        start, extent = line[0][side], line[1][side] - line[0][side]
        if extent == 0:
            if not box[side] < start < box[2 + side]:
                return False
            continue
        first, last = sorted(((box[side] - start) / extent, (box[2 + side] - start) / extent))
        enter, leave = max(enter, first), min(leave, last)
    return enter < leave


def _level(line: Line) -> bool:
    (x, y), (to_x, to_y) = line
    return abs(to_y - y) < 0.15 * abs(to_x - x)


def _cross(one: Line, other: Line) -> bool:
    def side(line: Line, spot: Spot) -> float:
        (x, y), (to_x, to_y) = line
        return (to_x - x) * (spot[1] - y) - (to_y - y) * (spot[0] - x)

    return side(one, other[0]) * side(one, other[1]) < 0 and side(other, one[0]) * side(other, one[1]) < 0
