from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgec.errors import CalibrationError
from edgec.frames import pictures


def decode(path: Path) -> np.ndarray:
    assert isinstance(pictures.read_header(path), pictures.Header)
    decoded = pictures.decode(path, path.name)
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable
    return decoded


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm"])
def test_lossless_formats_come_back_exactly(picture, pixels, suffix):
    assert np.array_equal(decode(picture(f"a.{suffix}", 3)), pixels(3))


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_formats_come_back_nearly(picture, pixels, suffix):
    difference = decode(picture(f"a.{suffix}", 3)).astype(int) - pixels(3)
    assert np.abs(difference).mean() < 8


def test_grey_is_repeated(tmp_path, pixels):
    grey = pixels(1)[:, :, 0]
    Image.fromarray(grey).save(tmp_path / "a.png")
    assert np.array_equal(decode(tmp_path / "a.png"), np.repeat(grey[:, :, None], 3, axis=2))


@pytest.mark.parametrize("first", ["RGGB", "BGGR", "GRBG"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_bayer_mosaic_stored_as_grey_is_refused(tmp_path, pixels, first, bits):
    colours, place = pixels(3), dict(zip(first, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True))
    mosaic = colours[:, :, 1].copy()
    for colour, channel in (("R", 0), ("B", 2)):
        top, left = place[colour]
        mosaic[top::2, left::2] = colours[top::2, left::2, channel]
    Image.fromarray(mosaic if bits == 8 else mosaic.astype(np.uint16) << 8).save(tmp_path / "a.png")
    with pytest.raises(CalibrationError, match=r"a\.png is damaged") as caught:
        pictures.decode(tmp_path / "a.png", "a.png", None if bits == 8 else 65535)
    assert caught.value.evidence == (
        "a Bayer mosaic stored as grey: demosaic it, as the robot's camera pipeline does, and store RGB",
    )


@pytest.mark.parametrize("kind", ["noise", "stripes", "flat", "scene"])
def test_other_grey_pictures_are_none(tmp_path, pixels, kind):
    draw = np.random.default_rng(0)
    stripes = np.broadcast_to(np.arange(96) % 2 * np.uint8(200), (72, 96))
    grey = {
        "noise": draw.integers(0, 256, (72, 96), dtype=np.uint8),
        "stripes": stripes,
        "flat": np.full((72, 96), 90, np.uint8),
        "scene": pixels(3)[:, :, 0],
    }[kind]
    Image.fromarray(np.ascontiguousarray(grey, np.uint8)).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png").shape == (72, 96, 3)


def test_palettes_become_colours(tmp_path, pixels):
    image = Image.fromarray(pixels(1)).quantize(16)
    image.save(tmp_path / "a.png")
    assert np.array_equal(decode(tmp_path / "a.png"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_over_black(tmp_path, mode):
    image = Image.new(mode, (4, 2), (200, 100, 50, 255) if mode == "RGBA" else (200, 255))
    image.putpixel((0, 0), (255, 255, 255, 0) if mode == "RGBA" else (255, 0))
    image.putpixel((1, 0), (200, 100, 50, 128) if mode == "RGBA" else (200, 128))
    image.save(tmp_path / "a.png")
    decoded = decode(tmp_path / "a.png")
    assert decoded[0, 0].tolist() == [0, 0, 0]
    assert decoded[0, 1, 0] == pytest.approx(100, abs=1)
    assert decoded[1, 3, 0] == 200


def test_a_transparent_palette_colour_is_black(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    assert decode(tmp_path / "a.png")[0].tolist() == [[0, 0, 0], [0, 255, 0]]


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    red = decode(tmp_path / "a.jpg")[8, 8]
    assert red[0] > 240
    assert red[1] < 15


def test_exif_orientation_is_applied(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels(2)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(decode(tmp_path / "a.png"), np.rot90(pixels(2), -1))


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_truncated_jpeg_is_damaged(picture, keep):
    path = picture("cut.jpg", 5, 480, 640)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(CalibrationError, match=r"cut\.jpg") as caught:
        pictures.decode(path, "cut.jpg")
    assert "truncated" in caught.value.evidence[0]


def test_broken_bytes_inside_a_png_are_damage(picture):
    path = picture("a.png", 5)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CalibrationError, match=r"a\.png is damaged"):
        pictures.decode(path, "a.png")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"just some text", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not a picture"),
        (b"\xff\xd8\xff\xe0", "not a picture"),
    ],
)
def test_other_bytes_are_recognised_by_the_header(tmp_path, content, reason):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert reason in str(pictures.read_header(path))


def test_a_decompression_bomb_is_recognised_by_the_header(tmp_path):
    for name, side in (("large.png", 9500), ("larger.png", 14000)):
        Image.new("1", (side, side)).save(tmp_path / name)
        assert pictures.read_header(tmp_path / name) == "larger than 89 megapixels"


def test_floating_point_has_no_range(tmp_path):
    Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(CalibrationError) as caught:
        pictures.decode(tmp_path / "a.tif", "a.tif")
    assert "floating point" in caught.value.evidence[0]


def test_paths_that_are_no_files(tmp_path):
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "symbolic link" in str(pictures.read_header(tmp_path / "loop.jpg"))
    assert pictures.read_header(tmp_path / "gone.jpg") == "no such file or directory"
    assert pictures.read_header(tmp_path / "pipe.jpg") == "not a regular file"
