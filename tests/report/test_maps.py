from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgec.records.fidelity import HeadFacts, Output
from edgec.report.head_pictures import head_sheets
from edgec.report.maps import Headed, figures, headed, panels, verdict
from edgec.report.overlays import DIFFERENT, HOLE
from edgec.report.pictures import write_pages

COUNT, HEIGHT, WIDTH = 2, 32, 48


def facts(name: str, output: Output, classes: tuple[str, ...] = ()) -> HeadFacts:
    kind = "onnx"
    return HeadFacts(name=name, kind=kind, output=output, outputs=(name,), classes=classes, reads=("cls",), sha256="0" * 64)


@pytest.fixture
def outputs() -> Headed:
    """Labels that differ in one pixel of the first frame, logits with a NaN, depths with a channel, scores that tip over."""
    random = np.random.default_rng(0)
    labels = np.zeros((COUNT, HEIGHT, WIDTH), np.int32)
    labels[:, :, WIDTH // 2 :] = 1
    other = labels.copy()
    other[0, 3, 4] = 1
    logits = random.normal(size=(COUNT, 3, HEIGHT, WIDTH)).astype(np.float32)
    holed = logits.copy()
    holed[0, 1, 0, 0] = np.nan
    depth = random.uniform(1, 9, (COUNT, 1, HEIGHT, WIDTH)).astype(np.float32)
    scores = np.array([[2.0, 1.0], [0.5, 0.25]], np.float32)
    heads = (
        facts("floor", "labels", ("<b>floor", "wall")), facts("raw", "logits"), facts("far", "depth"),
        facts("kind", "scores", ("cat", "dog")), facts("grasp", "values"),
    )  # fmt: skip
    vectors = np.zeros((COUNT, 2, 3, 5), np.float32)
    float32 = {"floor": labels, "raw": logits, "far": depth, "kind": scores, "grasp": vectors}
    shipped = {"floor": other, "raw": holed, "far": depth * np.float32(1.02), "kind": scores[:, ::-1].copy(), "grasp": vectors}
    frames = random.integers(0, 256, (COUNT, HEIGHT, WIDTH, 3), dtype=np.uint8)
    return headed(("one.jpg", "two.jpg"), frames, heads, float32, shipped)


def test_every_kind_of_output_finds_its_place(outputs: Headed) -> None:
    assert [(maps.output, maps.kind, maps.float32.shape) for maps in outputs.maps] == [
        (name, kind, (COUNT, HEIGHT, WIDTH)) for name, kind in (("floor", "labels"), ("raw", "labels"), ("far", "depth"))
    ]
    assert [scores.output for scores in outputs.scores] == ["kind"]
    assert outputs.undrawn == ("grasp is not drawn: values of 2 x 3 x 5 a frame are neither mask nor depth map",)
    assert outputs.maps[1].shipped[0, 0, 0] == -1, "not finite, no class"


def test_differences_are_marked_and_counted(outputs: Headed) -> None:
    floor, _, far = outputs.maps
    for index, differing in ((0, True), (1, False)):
        ours, theirs, marked = panels(floor, outputs.frames[index], index, 0, 1)
        assert (ours != theirs).any() == differing
        assert (marked == DIFFERENT).all(axis=2).any() == differing
    said = figures(floor, 0)
    assert said.startswith("1 of 1536 pixels differ (0.065%); lowest IoU 0.9986")
    assert "mean depth error 0.02 of the depth, largest 0.02" in figures(far, 0)
    low, high = far.range
    assert (
        panels(far, outputs.frames[0], 0, low, high)[2].max() > panels(far, outputs.frames[0], 0, low, high)[2].min() >= HOLE[0]
    )


def test_classes_are_shown_with_their_margins(outputs: Headed) -> None:
    (kind,) = outputs.scores
    assert verdict(kind, 0) == ("kind: float32 cat (2, margin 1), shipped dog (2, margin 1) — another class", False)
    kind.shipped[1] = np.nan
    words, same = verdict(kind, 1)
    assert not same
    assert "shipped scores that are not finite" in words


def test_a_sheet_for_each_head(outputs: Headed, tmp_path: Path) -> None:
    pages = dict(head_sheets(outputs, "model, int8"))
    assert list(pages) == ["head-1-floor.png", "head-2-raw.png", "head-3-far.png", "head-4-kind.png"]
    written = write_pages(pages, tmp_path / "new")
    assert sorted(path.name for path in written) == sorted(pages)
    with Image.open(written[0]) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    # The legend's swatch, and the mark in the first frame's last panel.
    marks = (pixels == DIFFERENT).all(axis=2)
    assert 100 < marks.sum() < 3000
    assert marks[:, : pixels.shape[1] * 3 // 4].sum() == 0


def test_strange_names_make_safe_file_names(outputs: Headed) -> None:
    odd = Headed(outputs.names, outputs.frames, tuple(
        type(maps)(name, maps.kind, maps.classes, maps.float32, maps.shipped)
        for name, maps in zip(("../../x", "/", "\x1b[31m"), outputs.maps, strict=True)
    ), ())  # fmt: skip
    assert [name for name, _ in head_sheets(odd, "\x1b")] == ["head-1-x.png", "head-2-head.png", "head-3-31m.png"]
