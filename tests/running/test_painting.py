"""Pages: every pixel that is looked at here was looked at by eye first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgec.artefact.reading import open_artefact
from edgec.errors import RequestError
from edgec.records.fidelity import HeadFacts
from edgec.records.manifest import Manifest
from edgec.report.overlays import UNKNOWN, class_colour, draw_labels
from edgec.running.painting import Painter
from edgec.running.panels import FITTED_ON, MapPanel, MaskPanel, Panel, panels_of, shown_classes
from edgec.running.results import TopClass
from edgec.running.types import Done
from tests.support.meaning import CLASSES, HEIGHT, WIDTH

from .conftest import GREEN, RED, halves, plain

SCALE = 10
"""Frames of 32 x 48 are enlarged so far."""
PANEL = HEIGHT * SCALE, WIDTH * SCALE


def done(number: int = 0, name: str = "frame.png", **outputs: NDArray[np.generic]) -> Done:
    return Done(name, number, None, number / 10, 1.0, plain(RED), outputs, (TopClass("colour", "red", 0, 0.75, 1.0),))


def segmentation(classes: tuple[str, ...]) -> HeadFacts:
    facts = {"name": "where", "kind": "segmentation", "output": "labels", "outputs": ("where",), "reads": ("patches",)}
    return HeadFacts.model_validate({**facts, "classes": classes, "sha256": "0" * 64})


def labels(value: int = 0) -> NDArray[np.int32]:
    return np.full((HEIGHT, WIDTH), value, np.int32)


def painter(*panels: Panel, classes: tuple[str, ...] = ()) -> Painter:
    return Painter(panels, classes, HEIGHT, WIDTH, "a model")


def corner(page: NDArray[np.uint8], classes: int = 0) -> NDArray[np.uint8]:
    """The first panel's picture."""
    top = 10 + 20 * (1 + classes) + 4 + 20
    return page[top : top + PANEL[0], 10 : 10 + PANEL[1]]


@pytest.fixture
def manifest(whole: Path) -> Manifest:
    return open_artefact(whole).manifest


# --- pages


def test_all_pages_of_a_run_have_one_even_size() -> None:
    drawing = painter(MaskPanel("where", segmentation(CLASSES)), MapPanel("bright"), classes=("colour",))
    long = done(0, "x" * 999 + "\x1b\n", where=labels(7), bright=np.full((HEIGHT, WIDTH), np.nan, np.float32))
    pages = [
        page
        for each in (long, done(1, where=labels(), bright=np.ones((HEIGHT, WIDTH), np.float32)))
        for page in drawing.add(each)
    ]
    pages += list(drawing.rest())
    assert [each.number for each, _ in pages] == [0, 1]
    assert {page.shape for _, page in pages} == {(drawing.size[1], drawing.size[0], 3)}
    assert drawing.size[0] % 2 == drawing.size[1] % 2 == 0


def test_the_mask_is_where_the_panel_is() -> None:
    drawing = painter(MaskPanel("where", segmentation(CLASSES)))
    [(_, page)] = drawing.add(done(where=labels(1)))
    panel = corner(page)
    expected = draw_labels(plain(RED), labels(1), 3)[0, 0]
    assert tuple(expected) != RED
    assert (panel == expected).all()
    legend = page[-30:]
    assert all((legend == class_colour(index)).all(axis=2).any() for index in range(3))


def test_labels_that_name_no_class_are_drawn_and_in_the_legend() -> None:
    drawing = painter(MaskPanel("where", segmentation(CLASSES)))
    [(_, page)] = drawing.add(done(where=labels(7)))
    assert (corner(page) == draw_labels(plain(RED), labels(7), 3)[0, 0]).all()
    assert (page[-30:] == UNKNOWN).all(axis=2).any()


def test_many_classes_find_no_place_and_are_counted() -> None:
    many = tuple(f"class number {number}" for number in range(150))
    drawing = painter(MaskPanel("where", segmentation(many)))
    [(_, page)] = drawing.add(done(where=labels(149)))
    legend = page[-70:]
    assert (legend == class_colour(149)).all(axis=2).any()  # the frame's own comes first
    assert drawing.size == painter(MaskPanel("where", segmentation(many[:60]))).size


def test_colours_of_depths_are_fitted_once_on_the_first_frames() -> None:
    drawing = painter(MapPanel("bright"))
    maps = [np.full((HEIGHT, WIDTH), number, np.float32) for number in range(FITTED_ON)]
    pages = [page for number, plane in enumerate(maps[:-1]) for page in drawing.add(done(number, bright=plane))]
    assert pages == []
    pages = drawing.add(done(7, bright=maps[-1]))
    assert [each.number for each, _ in pages] == [0, 1]  # two at once, so that a camera is not held up
    later = [page for number in range(8, 20) for page in drawing.add(done(number, bright=maps[3]))]
    assert [each.number for each, _ in later] == list(range(2, 20))
    of_three = {tuple(corner(page)[50, 50]) for each, page in later if each.number == 3 or each.number >= 8}
    assert len(of_three) == 1
    assert list(drawing.rest()) == []


def test_the_same_features_are_the_same_colours_all_along(manifest: Manifest) -> None:
    random = np.random.default_rng(0)
    grids = random.normal(0, 1, (3, 2, 3, 8)).astype(np.float32)
    drawing = painter(*panels_of(manifest, manifest.all_sizes[0], ("patches",)))
    pages = [page for number in range(20) for _, page in drawing.add(done(number, patches=grids[number % 3]))]
    pages += [page for _, page in drawing.rest()]
    for number, page in enumerate(pages):
        assert (corner(page) == corner(pages[number % 3])).all()
    assert not (corner(pages[0]) == corner(pages[1])).all()
    patch = corner(pages[0])[: 16 * SCALE, : 16 * SCALE]
    assert (patch == patch[0, 0]).all()  # a patch is not smoothed into the next


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_features_that_are_constant_or_not_finite(manifest: Manifest, value: float) -> None:
    drawing = painter(*panels_of(manifest, manifest.all_sizes[0], ("patches",)))
    for number in range(2):
        assert drawing.add(done(number, patches=np.full((2, 3, 8), value, np.float32))) == []
    assert len(list(drawing.rest())) == 2


def test_the_class_stands_above_with_its_share() -> None:
    drawing = painter(MaskPanel("where", segmentation(CLASSES)), classes=("colour",))
    [(_, page)] = drawing.add(done(where=labels()))
    bar = (page[34:44, 11:130] == (0, 114, 178)).all(axis=2)
    assert bar.all(axis=0).sum() == round(0.75 * 118)


# --- what is drawn


def test_heads_come_first_and_features_last(manifest: Manifest) -> None:
    size = manifest.all_sizes[0]
    assert [panel.title for panel in panels_of(manifest, size, ())] == ["frame", "where", "bright", "grid", "patches"]
    assert shown_classes(manifest, ()) == ("colour",)


def test_requested_panels_are_shown(manifest: Manifest) -> None:
    size = manifest.all_sizes[0]
    assert [panel.title for panel in panels_of(manifest, size, ("bright", "where", "bright"))] == ["bright", "where"]
    assert shown_classes(manifest, ("bright",)) == ()
    assert [panel.title for panel in panels_of(manifest, size, ("colour",))] == ["frame"]
    with pytest.raises(RequestError, match="nothing to draw that is called 'cls'") as caught:
        panels_of(manifest, size, ("cls",))
    assert "frame, patches, where, bright, grid, colour" in caught.value.evidence[0]


def test_an_artefact_without_heads_has_its_features_to_draw(headless: Path) -> None:
    manifest = open_artefact(headless).manifest
    assert [panel.title for panel in panels_of(manifest, manifest.all_sizes[0], ())] == ["frame", "patches"]


def test_the_frame_is_what_the_model_saw(manifest: Manifest) -> None:
    drawing = painter(*panels_of(manifest, manifest.all_sizes[0], ("frame",)))
    seen = Done("x", 0, None, 0.0, 1.0, halves(RED, GREEN), {}, ())
    [(_, page)] = drawing.add(seen)
    panel = corner(page)
    assert (panel[100, 50] == RED).all()
    assert (panel[100, 400] == GREEN).all()
