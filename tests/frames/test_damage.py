"""Pictures whose decoder had to make pixels up: each is named, none is used."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgec.errors import CalibrationError
from edgec.frames import batches, load, pictures, split
from edgec.frames.jpeg import fault
from edgec.model.spec import Size

WAYS = {
    "baseline": {},
    "444": {"quality": 95, "subsampling": 0},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 20},
    "restarts by row": {"restart_marker_rows": 1, "quality": 90},
    "progressive with restarts": {"restart_marker_rows": 2, "progressive": True},
}
"""How a JPEG may be coded."""
HEIGHT, WIDTH = 144, 208


def photograph(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    return Image.fromarray(np.clip(np.asarray(coarse) + rng.normal(0, 8, (height, width, 3)), 0, 255).astype(np.uint8))


def coded(image: Image.Image, way: str) -> bytes:
    target = io.BytesIO()
    image.save(target, "JPEG", **WAYS[way])
    return target.getvalue()


def data_of(content: bytes, scan: int = 0) -> tuple[int, int]:
    """Where the data of a scan begin and end."""
    place, scans = 2, []
    while place < len(content) - 2:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        place += 2 + length
        if marker == 0xDA:
            end = place
            while not (content[end] == 0xFF and content[end + 1] not in (0, *range(0xD0, 0xD8))):
                end += 1
            scans.append((place, end))
            place = end
    return scans[scan]


def is_damaged(path: Path, content: bytes) -> bool:
    path.write_bytes(content)
    try:
        pictures.decode(path, path.name)
    except CalibrationError:
        return True
    return False


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_whole_jpegs_of_every_kind_are_used(way, mode):
    for height, width in ((1, 1), (8, 8), (9, 17), (33, 250), (HEIGHT, WIDTH)):
        for image in (photograph(1, height, width), *(Image.new("RGB", (width, height), (grey,) * 3) for grey in (0, 128, 255))):
            assert fault(coded(image.convert(mode), way)) is None


def test_the_photographs_that_ship_are_whole():
    for path in sorted((Path(__file__).parents[2] / "calibration" / "demo").glob("*.jpg")):
        assert fault(path.read_bytes()) is None


@pytest.mark.parametrize("way", WAYS)
def test_a_jpeg_that_was_cut_and_ends_properly_is_damaged(tmp_path, way):
    """As programs mend them that were cut: the decoder fills what is missing with grey, and says nothing."""
    content = coded(photograph(2), way)
    begin, _ = data_of(content)
    for share in (0.05, 0.3, 0.7, 0.95):
        cut = content[: begin + int(share * (len(content) - begin))].rstrip(b"\xff") + b"\xff\xd9"
        with Image.open(io.BytesIO(cut)) as image:
            image.load()  # Pillow has nothing against it
        assert is_damaged(tmp_path / "cut.jpg", cut)


@pytest.mark.parametrize("way", [way for way in WAYS if "restarts" not in way])
def test_a_jpeg_with_a_hole_is_damaged(tmp_path, way):
    content = coded(photograph(3), way)
    begin, end = data_of(content)
    noticed = 0
    for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        at = begin + int(share * (end - begin))
        noticed += is_damaged(
            tmp_path / "hole.jpg", content[:at].rstrip(b"\xff") + content[at + (end - begin) // 10 :].lstrip(b"\0")
        )
    assert noticed >= 7


@pytest.mark.parametrize("way", ["restarts", "restarts by row", "progressive with restarts"])
def test_a_stretch_that_is_lost_between_restarts_is_missed(tmp_path, way):
    content = coded(photograph(4), way)
    begin, end = data_of(content)
    marks = [at for at in range(begin, end) if content[at] == 0xFF and content[at + 1] in range(0xD0, 0xD8)]
    assert len(marks) >= 4
    assert is_damaged(tmp_path / "one.jpg", content[: marks[1]] + content[marks[2] :])
    assert is_damaged(tmp_path / "last.jpg", content[: marks[-1]] + content[end:])
    eight = content[: marks[0]] + content[marks[8] :] if len(marks) > 8 else None  # the numbers go on as if nothing were
    assert eight is None or is_damaged(tmp_path / "eight.jpg", eight)


def test_a_progressive_jpeg_without_all_its_scans_is_damaged(tmp_path):
    content = coded(photograph(5), "progressive")
    for scan in range(1, 8):
        _, end = data_of(content, scan)
        assert is_damaged(tmp_path / "early.jpg", content[:end] + b"\xff\xd9")


def test_flipped_bits_are_damage_where_the_decoder_lost_its_place(tmp_path):
    """What it can decode after all is another picture, which nobody can tell. libjpeg warns of the same ones."""
    chance = random.Random(7)
    for way, least in (("baseline", 2), ("optimised", 2), ("444", 5), ("progressive", 8), ("restarts by row", 2)):
        content = coded(photograph(6), way)
        begin, _ = data_of(content)
        noticed = 0
        for _ in range(40):
            broken = bytearray(content)
            broken[chance.randrange(begin, len(content) - 2)] ^= 1 << chance.randrange(8)
            noticed += is_damaged(tmp_path / "flipped.jpg", bytes(broken))
        assert noticed >= least, way


def test_padding_and_what_follows_a_picture_are_no_damage(tmp_path):
    """Cameras fill up to whole blocks, and phones put a second picture or a film behind the first."""
    content = coded(photograph(8), "baseline")
    for odd in (
        content[:-2] + b"\xff" * 5 + content[-2:],
        content[:-2] + b"\0" * 64 + content[-2:],
        content + b"\0" * 500,
        content + coded(photograph(9), "progressive"),
        content[:2] + b"\xff\xfe\x00\x10" + b"a comment....." + content[2:],
    ):
        assert not is_damaged(tmp_path / "odd.jpg", odd)


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "ppm", "tif", "jpg"])
def test_no_cut_file_of_any_format_gives_a_frame(tmp_path, suffix):
    photograph(10).save(tmp_path / f"a.{suffix}")
    content = (tmp_path / f"a.{suffix}").read_bytes()
    for keep in (0.2, 0.5, 0.9, 0.99):
        assert is_damaged(tmp_path / f"a.{suffix}", content[: int(len(content) * keep)])


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_no_cut_tiff_gives_a_frame(tmp_path, compression):
    photograph(11).save(tmp_path / "a.tif", compression=compression)
    content = (tmp_path / "a.tif").read_bytes()
    assert not is_damaged(tmp_path / "a.tif", content)
    assert is_damaged(tmp_path / "a.tif", content[: len(content) // 2])


@pytest.mark.parametrize("compression", ["jpeg", "group3", "group4"])
def test_what_cannot_be_checked_inside_a_tiff_is_refused_by_name(tmp_path, compression):
    image = photograph(12)
    (image if compression == "jpeg" else image.convert("1")).save(tmp_path / "a.tif", compression=compression)
    assert f"TIFF compressed with {compression}" in str(pictures.read_header(tmp_path / "a.tif"))


def test_flipped_bits_in_a_png_are_damage(tmp_path):
    photograph(13).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    begin = content.find(b"IDAT") + 4
    for place in range(begin, len(content) - 16, max(1, len(content) // 40)):
        broken = bytearray(content)
        broken[place] ^= 0x10
        assert is_damaged(tmp_path / "a.png", bytes(broken))


def test_damaged_pictures_of_a_set_are_named_and_never_drawn(tmp_path):
    for number in range(14):
        content = coded(photograph(20 + number), list(WAYS)[number % len(WAYS)])
        begin, _ = data_of(content)
        cut = content[: begin + (len(content) - begin) // 2].rstrip(b"\xff") + b"\xff\xd9"
        (tmp_path / f"photo{chr(97 + number)}.jpg").write_bytes(cut if number < 4 else content)
    loaded = load(str(tmp_path))
    parts = split(loaded)
    bad = {f"photo{letter}.jpg" for letter in "abcd"}
    assert {name for name, _ in parts.skipped} <= bad
    assert not bad & {frame.name for frame in (*parts.calibration, *parts.validation)}
    skipped: list[tuple[str, str]] = []
    assert len(list(batches(loaded.frames, Size(32, 32), skipped=skipped))) == 10
    assert {name for name, _ in skipped} == bad
    assert all("data" in reason or "scans" in reason or "restart" in reason for _, reason in skipped)
