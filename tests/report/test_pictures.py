from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgec.errors import EdgecError
from edgec.model.spec import Size
from edgec.report.pictures import CAPTIONS, Compared, Layout, colours, fit_basis, heat, write_pictures
from tests.support.frames import pictures

ROWS, COLUMNS, WIDTH, COUNT = 6, 8, 32, 3


@pytest.fixture
def compared() -> Compared:
    """Smooth features, equal on both sides."""
    random = np.random.default_rng(0)
    coarse = random.standard_normal((COUNT, 2, 2, WIDTH), dtype=np.float32)
    features = np.repeat(np.repeat(coarse, ROWS // 2, axis=1), COLUMNS // 2, axis=2)
    features += 0.1 * random.standard_normal(features.shape, dtype=np.float32)
    frames = pictures(Size(16 * ROWS, 16 * COLUMNS), COUNT)
    return Compared(("street.jpg", "b/yard.png", "../../etc"), frames, features, features.copy())


def panel(path: Path, row: int, column: str, count: int = 1) -> np.ndarray:
    layout = Layout(ROWS, COLUMNS, count)
    with Image.open(path) as picture:
        assert picture.size == layout.size
        return np.asarray(picture.convert("RGB").crop(layout.box(row, CAPTIONS.index(column))))


HEAT = CAPTIONS[3]


def test_a_picture_for_each_frame_and_a_sheet(compared: Compared, tmp_path: Path) -> None:
    written = write_pictures(compared, "model, int8", tmp_path / "new" / "folder")
    assert [path.name for path in written] == ["01-street.png", "02-b-yard.png", "03-etc.png", "sheet.png"]
    assert sorted((tmp_path / "new" / "folder").iterdir()) == sorted(written)
    for row, path in enumerate(written[:COUNT]):
        for column in CAPTIONS:
            np.testing.assert_array_equal(panel(path, 0, column), panel(written[-1], row, column, COUNT))


def test_equal_features_are_equal_pixels_without_loss(compared: Compared, tmp_path: Path) -> None:
    *single, sheet = write_pictures(compared, "model", tmp_path)
    for path in single:
        np.testing.assert_array_equal(panel(path, 0, "float32"), panel(path, 0, "shipped"))
        assert len(np.unique(panel(path, 0, "float32").reshape(-1, 3), axis=0)) > 10
        assert panel(path, 0, HEAT).max() < 10
    assert panel(sheet, 1, "frame", COUNT).std() > 20


def test_damage_shows_where_it_is(compared: Compared, tmp_path: Path) -> None:
    shipped = compared.shipped.copy()
    shipped[1, 2, 5] = -shipped[1, 2, 5]
    written = write_pictures(replace(compared, shipped=shipped), "model", tmp_path)
    layout = Layout(ROWS, COLUMNS, 1)
    patch = np.s_[2 * layout.patch : 3 * layout.patch, 5 * layout.patch : 6 * layout.patch]
    changed = (panel(written[1], 0, "float32") != panel(written[1], 0, "shipped")).any(axis=-1)
    lost = panel(written[1], 0, HEAT).max(axis=-1) > 100
    for patches in (changed, lost):
        assert patches[patch].all()
        patches[patch] = False
        assert not patches.any()
    np.testing.assert_array_equal(panel(written[0], 0, "float32"), panel(written[0], 0, "shipped"))


def test_damage_does_not_recolour_what_it_is_compared_with(compared: Compared, tmp_path: Path) -> None:
    """Basis and scaling come from float32 alone."""
    noise = np.random.default_rng(1).standard_normal(compared.shipped.shape, dtype=np.float32)
    whole = write_pictures(compared, "model", tmp_path / "whole")
    noisy = write_pictures(replace(compared, shipped=compared.shipped + noise), "model", tmp_path / "noisy")
    for one, other in zip(whole[:COUNT], noisy[:COUNT], strict=True):
        np.testing.assert_array_equal(panel(one, 0, "float32"), panel(other, 0, "float32"))
        assert np.abs(panel(one, 0, "shipped").astype(int) - panel(other, 0, "shipped")).mean() > 10


def test_features_that_are_not_finite_are_black(compared: Compared) -> None:
    basis = fit_basis(compared.float32)
    features = compared.float32[0].copy()
    features[0, 0, 3] = np.nan
    features[0, 1, 3] = np.inf
    shown = colours(features, basis)
    assert not shown[0, :2].any()
    np.testing.assert_array_equal(shown[1:], colours(compared.float32[0], basis)[1:])


def test_the_basis_is_that_of_the_largest_variance(compared: Compared) -> None:
    basis = fit_basis(compared.float32)
    np.testing.assert_allclose(basis.directions.T @ basis.directions, np.eye(3), atol=1e-5)
    flat = compared.float32.reshape(-1, WIDTH)
    total = np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False)[:3] ** 2
    np.testing.assert_allclose((((flat - basis.centre) @ basis.directions) ** 2).sum(axis=0), total, rtol=1e-3)


def test_features_without_any_difference_are_drawn(compared: Compared, tmp_path: Path) -> None:
    flat = np.ones_like(compared.float32)
    write_pictures(Compared(compared.names, compared.frames, flat, flat), "flat", tmp_path)
    assert panel(tmp_path / "01-street.png", 0, HEAT).max() < 10


def test_the_scale_of_the_heat_map_is_the_same_in_every_picture() -> None:
    shades = heat(np.array([1.0, 0.99999, 0.9999, 0.999, 0.99, 0.9, 0.0, -1.0])).astype(int).sum(axis=-1)
    assert list(shades[:6]) == sorted(set(shades[:6]))
    assert shades[5] == shades[6] == shades[7]


def test_columns_are_narrow_and_wide_pictures_whole() -> None:
    for rows, columns in ((1, 1), (14, 14), (30, 40), (45, 80), (200, 400)):
        layout = Layout(rows, columns, 2)
        boxes = [layout.box(row, column) for row in (0, 1) for column in range(4)]
        for left, top, right, bottom in boxes:
            assert (right - left, bottom - top) == (columns * layout.patch, rows * layout.patch)
            assert 0 <= left < right < layout.size[0]
            assert 0 <= top < bottom < layout.size[1]
        assert all(first[2] < second[0] for first, second in pairwise(boxes[:4]))
        assert boxes[0][3] < boxes[4][1]


def test_long_and_foreign_names_are_no_fault(compared: Compared, tmp_path: Path) -> None:
    names = ("a" * 500 + ".jpg", "\u8eca/\x1b.jpg", "video.avi#000010")
    written = write_pictures(replace(compared, names=names), "title " * 100, tmp_path)
    assert [path.name for path in written[1:3]] == ["02-frame.png", "03-video-avi-000010.png"]
    assert all(len(path.name) < 60 for path in written)


def test_the_same_features_give_the_same_bytes(compared: Compared, tmp_path: Path) -> None:
    one, other = (write_pictures(compared, "model", tmp_path / name) for name in ("one", "other"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_a_folder_that_cannot_be_made_is_one_clear_error(compared: Compared, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EdgecError, match="could not be written"):
        write_pictures(compared, "model", tmp_path / "file" / "pictures")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
