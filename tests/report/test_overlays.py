"""What is drawn over frames: colours that people tell apart, one scale, and marks that are seen."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from PIL import Image, ImageDraw

from edgec.report.overlays import (
    DIFFERENT,
    HOLE,
    UNKNOWN,
    Swatches,
    class_colour,
    class_swatches,
    depth_range,
    draw_depth,
    draw_differences,
    draw_labels,
    draw_scale,
    ramp,
)

# What people see who lack one kind of cone, in linear RGB: Machado, Oliveira and Fernandes, 2009, severity 1.
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
FRAME = np.full((8, 12, 3), (200, 40, 90), np.uint8)


def seen(colour: tuple[int, int, int], kind: str) -> np.ndarray:
    """In CIELAB, where distances are about as large as people see them."""
    linear = (np.array(colour) / 255) ** 2.2
    linear = np.clip(np.array(BLINDNESS[kind]) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    x, y, z = np.cbrt(xyz / (0.9505, 1.0, 1.089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_the_first_classes_differ_for_the_colour_blind() -> None:
    for kind in BLINDNESS:
        for one, other in combinations(range(7), 2):
            distance = np.linalg.norm(seen(class_colour(one), kind) - seen(class_colour(other), kind))
            assert distance > 10, (kind, one, other, distance)
    assert len({class_colour(index) for index in range(35)}) == 35
    assert DIFFERENT not in {class_colour(index) for index in range(35)}


def test_a_mask_has_its_classes_colours_wherever_it_lies() -> None:
    labels = np.zeros((8, 12), np.int32)
    labels[:, 6:] = 1
    drawn = draw_labels(FRAME, labels, 2)
    assert drawn.shape == FRAME.shape
    assert (drawn[:, 6] == 255).all(), "a line where they meet"
    grey = FRAME.mean(axis=2).astype(np.uint8)[0, 0]
    for column, index in ((0, 0), (9, 1)):
        np.testing.assert_allclose(drawn[4, column], (grey + np.array(class_colour(index))) / 2, atol=1)


def test_labels_of_no_class_are_grey_and_sizes_may_differ() -> None:
    labels = np.array([[0, 7], [-1, 1]], np.int64)
    drawn = draw_labels(np.zeros((8, 12, 3), np.uint8), labels, 2)
    for row, column in ((0, 11), (7, 0)):
        np.testing.assert_allclose(drawn[row, column], np.array(UNKNOWN) / 2, atol=1)
    swatches = class_swatches(("floor", "wall"), [0, 7, -1])
    assert [each.text for each in swatches] == ["floor", "wall", "no class (-1)", "no class (7)"]
    assert [each.text for each in class_swatches((), [0, 3])] == ["class 0", "class 3"]


def test_depth_has_one_scale_and_holes_are_black() -> None:
    near, far = np.full((4, 6), 2.0, np.float32), np.full((4, 6), 8.0, np.float32)
    far[0, 0] = np.nan
    low, high = depth_range([near, far])
    assert (low, high) == (2.0, 8.0)
    drawn = draw_depth(FRAME, far, low, high)
    assert tuple(drawn[0, 0]) == HOLE
    assert (draw_depth(FRAME, near, low, high) != drawn).any(axis=2).all()
    shades = ramp(np.linspace(0, 1, 64), 0, 1).astype(float) @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(shades) >= 0).all(), "its brightness alone says as much"
    assert depth_range([np.full((2, 2), np.nan)]) == (0.0, 1.0)
    assert depth_range([near]) == (2.0, 2.0 + 2e-6)


def test_a_single_pixel_that_differs_is_seen() -> None:
    differs = np.zeros((8, 12), bool)
    assert not (draw_differences(FRAME, differs) == DIFFERENT).all(axis=2).any()
    differs[4, 5] = True
    marked = (draw_differences(FRAME, differs) == DIFFERENT).all(axis=2)
    assert marked.sum() == 9
    assert marked[3:6, 4:7].all()


def test_legends_stay_in_their_room() -> None:
    texts = [f"class number {index}" for index in range(40)]
    legend = Swatches.laid(texts, 400, 3)
    assert legend.lines == 3
    assert legend.more is not None
    assert legend.more[2] == f"and {40 - len(legend.places)} more"
    page = Image.new("RGB", (400, 60), (255, 255, 255))
    pen = ImageDraw.Draw(page)
    legend.draw(pen, class_swatches(tuple(texts)), 0, 0)
    x, line, _ = legend.places[1]
    assert page.getpixel((x + 6, line * 20 + 8)) == class_colour(1)
    assert Swatches.laid([], 400, 3).lines == 0
    draw_scale(page, 0, 30, 400, 1.0, 3.0)
    assert page.getpixel((0, 35)) == tuple(ramp(np.array([1.0]), 1.0, 3.0)[0])
    assert page.getpixel((399, 35)) == tuple(ramp(np.array([3.0]), 1.0, 3.0)[0])
