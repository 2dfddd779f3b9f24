"""A page for each frame: its name, the classes, and its panels side by side. All pages of a run have the same size."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgec.extras import later
from edgec.records.reading import printable
from edgec.report.lettering import font, write
from edgec.report.overlays import LINE, SWATCH, Bytes, Swatches, ramp
from edgec.running.panels import FITTED_ON, Bar, Drawn, Panel, enlarged
from edgec.running.results import TopClass
from edgec.running.types import Done

if TYPE_CHECKING:
    from PIL import Image, ImageDraw
else:
    Image, ImageDraw = later("PIL.Image"), later("PIL.ImageDraw")

_LEAST = 320
"""Pixels of a panel's shorter side: smaller frames are enlarged by a whole number."""
_MARGIN, _GAP, _LEGEND_LINES = 10, 10, 3
_SHARE_BAR = 120
_AT_ONCE = 2
_LONGEST = 400
"""The most characters of a name that are tried: names may have thousands, and no page has room for so many."""
_GROUND, _INK, _FAINT, _FULL = (255, 255, 255), (30, 30, 30), (95, 95, 95), (0, 114, 178)


class Painter:
    """Draws pages for frames of `height` x `width`. `title` is on each; the top classes of the outputs `classes` stand above the
    panels.

    `add` returns pages as soon as they can be drawn. Colours are fitted on the run's first frames, which wait for that, so that
    at most `FITTED_ON` frames are held. `rest` yields those that still wait at the end.
    """

    def __init__(self, panels: Sequence[Panel], classes: Sequence[str], height: int, width: int, title: str) -> None:
        self._panels, self._classes, self._title = panels, classes, title
        scale = max(1, math.ceil(_LEAST / min(height, width)))
        self._panel = width * scale, height * scale
        self._columns = {1: 1, 2: 2, 3: 3, 4: 2}.get(len(panels), 3)
        self._head = _MARGIN + LINE * (1 + len(classes)) + 4
        lines = [self._legend_lines(panel) for panel in panels]
        in_rows = [max(lines[start : start + self._columns]) for start in range(0, len(panels), self._columns)]
        heights = [LINE + self._panel[1] + (5 + LINE * most if most else 0) + _GAP for most in in_rows]
        self._tops = [self._head + sum(heights[:row]) for row in range(len(heights))]
        page_width = 2 * _MARGIN + self._columns * (self._panel[0] + _GAP) - _GAP
        # Films of the usual kind have an even number of pixels on each side.
        self.size = _even(page_width), _even(self._head + sum(heights))
        self._waiting: deque[Done] = deque()
        self._fitted = not any(panel.fits for panel in panels)

    def add(self, done: Done) -> list[tuple[Done, Bytes]]:
        """The pages that can be drawn now, with their frames."""
        self._waiting.append(done)
        if len(self._waiting) == FITTED_ON:
            self._fit()
        # Two at once, until none waits: all eight together would hold up a camera for the time of several frames.
        return [self._next() for _ in range(min(_AT_ONCE, len(self._waiting)) if self._fitted else 0)]

    def rest(self) -> Iterator[tuple[Done, Bytes]]:
        """The pages of frames that still wait, at the end of a run."""
        if self._waiting:
            self._fit()
        while self._waiting:
            yield self._next()

    def _fit(self) -> None:
        if not self._fitted:
            for panel in self._panels:
                panel.fit(self._waiting)
        self._fitted = True

    def _next(self) -> tuple[Done, Bytes]:
        done = self._waiting.popleft()
        return done, self.page(done)

    def _legend_lines(self, panel: Panel) -> int:
        if not panel.names:
            return panel.lines
        return Swatches.laid(panel.names, self._panel[0], _LEGEND_LINES).lines

    def page(self, done: Done) -> Bytes:
        """The page of one frame, uint8 [H, W, 3] of the painter's `size`."""
        page = Image.new("RGB", self.size, _GROUND)
        pen = ImageDraw.Draw(page)
        room = self.size[0] - 2 * _MARGIN
        time = "" if done.time_s is None else f"  {_clock(done.time_s)}"
        name = _ending(pen, f"{printable(done.name)}{time}", 14, room * 3 // 5)
        pen.text((_MARGIN, _MARGIN - 2), name, _INK, font(14))
        left = _MARGIN + math.ceil(pen.textlength(name, font(14))) + 2 * _GAP
        write(pen, (left, _MARGIN), self._title, 11, self.size[0] - _MARGIN - left, _FAINT)
        self._write_classes(pen, done, room)
        for index, panel in enumerate(self._panels):
            row, column = divmod(index, self._columns)
            left, top = _MARGIN + column * (self._panel[0] + _GAP), self._tops[row]
            drawn = panel.draw(done)
            write(pen, (left, top), panel.title, 12, self._panel[0], _INK)
            page.paste(enlarged(drawn, *self._panel), (left, top + LINE))
            self._write_legend(page, pen, drawn, left, top + LINE + self._panel[1] + 5)
        return np.asarray(page)

    def _write_classes(self, pen: ImageDraw.ImageDraw, done: Done, room: int) -> None:
        by_output = {result.output: result for result in done.results if isinstance(result, TopClass)}
        for line, output in enumerate(self._classes):
            top = _MARGIN + LINE * (1 + line)
            pen.rectangle((_MARGIN, top + 3, _MARGIN + _SHARE_BAR, top + 14), outline=_FAINT)
            if output in by_output:
                filled = round(by_output[output].share * (_SHARE_BAR - 2))
                if filled:
                    pen.rectangle((_MARGIN + 1, top + 4, _MARGIN + filled, top + 13), fill=_FULL)
                text = by_output[output].words()
                write(pen, (_MARGIN + _SHARE_BAR + _GAP, top), text, 13, room - _SHARE_BAR - _GAP, _INK)

    def _write_legend(self, page: Image.Image, pen: ImageDraw.ImageDraw, drawn: Drawn, left: int, top: int) -> None:
        if drawn.bar is not None:
            _draw_bar(page, pen, drawn.bar, left, top, self._panel[0])
        elif drawn.swatches:
            laid = Swatches.laid([swatch.text for swatch in drawn.swatches], self._panel[0], _LEGEND_LINES)
            laid.draw(pen, drawn.swatches, left, top)
        if drawn.note:
            write(pen, (left, top), drawn.note, 11, self._panel[0], _FAINT)


def _draw_bar(page: Image.Image, pen: ImageDraw.ImageDraw, bar: Bar, left: int, top: int, width: int) -> None:
    """A scale with its ends, middle and this frame's median. Values beyond the ends have the ends' colours."""
    strip = ramp(np.linspace(bar.low, bar.high, width, dtype=np.float32), bar.low, bar.high)
    page.paste(Image.fromarray(np.ascontiguousarray(np.broadcast_to(strip, (SWATCH, width, 3)))), (left, top + 4))
    under = top + 4 + SWATCH + 2
    small = font(11)
    middle = (bar.low + bar.high) / 2
    pen.text((left, under), f"\N{LESS-THAN OR EQUAL TO} {_figure(bar.low)}", _INK, small)
    pen.text((left + width // 2, under), _figure(middle), _INK, small, anchor="ma")
    pen.text((left + width - 1, under), f"\N{GREATER-THAN OR EQUAL TO} {_figure(bar.high)}", _INK, small, anchor="ra")
    if bar.mark is None:
        return
    share = min(max((bar.mark - bar.low) / (bar.high - bar.low), 0.0), 1.0)
    x, y = left + round(share * (width - 1)), top + 4
    pen.polygon(((x - 5, y - 5), (x + 5, y - 5), (x, y + 4)), fill=_INK, outline=_GROUND)
    holes = "; black: not finite" if bar.holes else ""
    text = f"median {_figure(bar.mark)} (marked){holes}; colours from the first frames"
    write(pen, (left, under + 16), text, 11, width, _FAINT)


def _ending(pen: ImageDraw.ImageDraw, text: str, size: int, room: int) -> str:
    """As much of the end of a text as fits, because names of frames differ at the end."""
    if pen.textlength(text[-_LONGEST:], font(size)) <= room:
        return text
    text = text[-_LONGEST:]
    while text and pen.textlength(f"…{text}", font(size)) > room:
        text = text[1:]
    return f"…{text}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:05.2f}" if hours else f"{minutes}:{rest:05.2f}"


def _figure(value: float) -> str:
    return f"{value:.3g}"


def _even(pixels: int) -> int:
    return pixels + pixels % 2
