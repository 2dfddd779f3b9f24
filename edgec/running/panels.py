"""Panels: pictures of a frame's outputs, each with a legend.

Colours stay the same over a run: the directions of patch features (PCA), and the range of depths, are fitted once, on the run's
first frames, and the legends say so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgec.errors import RequestError
from edgec.extras import later
from edgec.records.fidelity import HeadFacts
from edgec.records.manifest import Manifest, SizeFacts
from edgec.records.reading import printable
from edgec.report.overlays import Bytes, Swatch, class_swatches, depth_range, draw_labels, ramp
from edgec.report.pictures import Basis, Floats, colours, fit_basis
from edgec.running.results import Values, counts, label_map
from edgec.running.types import Done

if TYPE_CHECKING:
    from PIL import Image
else:
    Image = later("PIL.Image")

FRAME = "frame"
FITTED_ON = 8
"""Frames, the run's first, that colours are fitted on."""
_FEW = 8
_LARGEST_FIT = 200_000
"""Values that a range is fitted on, of each frame."""


@dataclass(frozen=True)
class Bar:
    """A scale: the values of its ends, and this frame's median."""

    low: float
    high: float
    mark: float | None
    holes: bool = False
    """Whether some values are not finite."""


@dataclass(frozen=True)
class Drawn:
    """A panel of one frame. `picture` is enlarged to the panel's size, without smoothing if `crisp`."""

    picture: Bytes
    crisp: bool = False
    swatches: tuple[Swatch, ...] = ()
    bar: Bar | None = None
    note: str = ""


class Panel(ABC):
    """One picture on a page, for all frames of a run. If it `fits`, it needs the run's first frames before it can draw any; its
    legend has `lines` lines, or these `names`."""

    title: str
    fits: bool = False
    lines: int = 0
    names: tuple[str, ...] = ()

    def fit(self, first: Collection[Done]) -> None:  # noqa: B027 - most need none
        """Choose the colours by the run's first frames, at least one."""

    @abstractmethod
    def draw(self, done: Done) -> Drawn:
        """The panel of one frame."""


class FramePanel(Panel):
    """The frame itself, as the model sees it."""

    title = "frame"

    def draw(self, done: Done) -> Drawn:
        """The frame."""
        return Drawn(done.frame)


class _OutputPanel(Panel):
    def __init__(self, output: str) -> None:
        self.title = printable(output)
        self._output = output


class MaskPanel(_OutputPanel):
    """The classes of pixels. The legend has the classes in their order if there are few, else those with the largest shares of
    the frame first."""

    def __init__(self, output: str, head: HeadFacts) -> None:
        super().__init__(output)
        self._head = head
        self.names = tuple(map(printable, head.classes)) or ("class 0", "class 1")

    def draw(self, done: Done) -> Drawn:
        """The frame under its classes' colours."""
        labels = label_map(self._head.output, done.outputs[self._output])
        pixels = counts(labels)
        classes = len(self._head.classes)
        swatches = class_swatches(self.names if classes else (), pixels)
        others = sorted(index for index in pixels if not 0 <= index < classes)
        if len(swatches) > _FEW:
            by_pixels = sorted(
                zip([*range(classes), *others], swatches, strict=True), key=lambda each: (-pixels.get(each[0], 0), each[0])
            )
            swatches = tuple(swatch for _, swatch in by_pixels)
        return Drawn(draw_labels(done.frame, labels, classes), swatches=swatches)


class MapPanel(_OutputPanel):
    """A map of single values, by pixel or patch, such as depths."""

    fits = True
    lines = 3

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self._low, self._high = 0.0, 1.0

    def fit(self, first: Collection[Done]) -> None:
        """The range of values."""
        self._low, self._high = depth_range([_sample(_plane(done.outputs[self._output])) for done in first])

    def draw(self, done: Done) -> Drawn:
        """The map in colours, with a scale."""
        plane = _plane(done.outputs[self._output])
        finite = plane[np.isfinite(plane)]
        bar = Bar(self._low, self._high, float(np.median(finite)) if finite.size else None, finite.size < plane.size)
        crisp = plane.shape != done.frame.shape[:2]
        return Drawn(ramp(plane, self._low, self._high), crisp, bar=bar)


class FeaturePanel(_OutputPanel):
    """A grid of feature vectors: the three directions in which they vary most are red, green and blue."""

    fits = True
    lines = 1

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self._basis: Basis | None = None
        self._note = ""

    def fit(self, first: Collection[Done]) -> None:
        """The directions (PCA)."""
        vectors = np.concatenate([done.outputs[self._output].reshape(-1, done.outputs[self._output].shape[-1]) for done in first])
        vectors = vectors[np.isfinite(vectors).all(axis=1)]
        if len(vectors) > 1:
            self._basis = fit_basis(vectors)
        count = f"the first {len(first)} frames" if len(first) > 1 else "the first frame"
        self._note = f"PCA to RGB, fitted on {count}" if self._basis else "no finite features in the first frames"

    def draw(self, done: Done) -> Drawn:
        """The grid in colours."""
        grid = done.outputs[self._output]
        picture = colours(grid, self._basis) if self._basis else np.zeros((*grid.shape[:2], 3), np.uint8)
        return Drawn(picture, crisp=True, note=self._note)


def panels_of(manifest: Manifest, size: SizeFacts, show: Sequence[str]) -> list[Panel]:
    """The frame and everything of the outputs that can be drawn, or the panels that `show` names, in its order.

    Raises `RequestError` for a name that is neither a panel nor an output of classes, which stand above the panels.
    """
    drawable = {FRAME: FramePanel(), **_drawable(manifest, size)}
    heads = _of_heads(manifest)
    classes = [name for head in manifest.heads if head.output == "scores" for name in head.outputs]
    unknown = [name for name in show if name not in drawable and name not in classes]
    if unknown:
        raise RequestError(
            f"There is nothing to draw that is called {printable(unknown[0])!r}.",
            evidence=f"there are {', '.join(map(printable, [*drawable, *classes]))}",
            remedy="give one of these with --show, more than once for several, or leave it out for all",
        )
    # The patches of every block would leave no room for the heads: they are drawn only on request.
    usual = [FRAME, *(name for name in drawable if name in heads), *(name for name in drawable if name == "patches")]
    chosen = [name for name in (show or usual) if name in drawable]
    return [drawable[name] for name in dict.fromkeys(chosen)] or [drawable[FRAME]]


def shown_classes(manifest: Manifest, show: Sequence[str]) -> tuple[str, ...]:
    """The outputs of classes that stand above the panels."""
    names = (name for head in manifest.heads if head.output == "scores" for name in head.outputs)
    return tuple(name for name in names if not show or name in show)


def enlarged(drawn: Drawn, width: int, height: int) -> Image.Image:
    """The panel's picture in this size."""
    picture = Image.fromarray(np.ascontiguousarray(drawn.picture))
    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), Image.Resampling.NEAREST if drawn.crisp else Image.Resampling.BICUBIC)


def _of_heads(manifest: Manifest) -> dict[str, HeadFacts]:
    return {name: head for head in manifest.heads for name in head.outputs}


def _drawable(manifest: Manifest, size: SizeFacts) -> dict[str, Panel]:
    heads = _of_heads(manifest)
    panels: dict[str, Panel] = {}
    for output in size.outputs:
        head, shape = heads.get(output.name), output.shape
        of_frame = shape[-2:] == size.input.shape[1:3]
        if head is not None and of_frame and (head.output, len(shape)) in (("labels", 3), ("logits", 4)):
            panels[output.name] = MaskPanel(output.name, head)
        elif head is not None and head.output == "depth" and len(shape) == 3:
            panels[output.name] = MapPanel(output.name)
        elif len(shape) == 4 and shape[-1] >= 3:
            panels[output.name] = FeaturePanel(output.name)
        elif len(shape) == 4 and shape[-1] == 1:
            panels[output.name] = MapPanel(output.name)
    return panels


def _plane(values: Values) -> Floats:
    """The map [H, W] of values [H, W] or [H, W, 1]."""
    return np.asarray(values.reshape(values.shape[:2]), np.float32)


def _sample(plane: Floats) -> Floats:
    return np.asarray(plane.reshape(-1)[:: max(1, plane.size // _LARGEST_FIT)], np.float32)
