"""More than 8 bits a sample: what files say of full scale is obeyed, and where they say nothing, nobody guesses."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from edgec.cli import run
from edgec.errors import CalibrationError
from edgec.frames import load, split
from edgec.frames.lint import lint
from edgec.running.sources import open_source

HEIGHT, WIDTH = 24, 32


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(path: Path, values: np.ndarray, sbit: int | None = None, *others: bytes) -> Path:
    """16 bits a sample: [H, W] grey, [H, W, 3] RGB, [H, W, 4] RGBA."""
    channels = 1 if values.ndim == 2 else values.shape[2]
    kind = {1: 0, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0))
    extra = b"" if sbit is None else chunk(b"sBIT", bytes([sbit] * channels))
    content = header + extra + b"".join(others) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def tiff(path: Path, values: np.ndarray, **tags: int) -> Path:
    known = {"max_sample": 281, "white_level": 50717}
    written = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        written[known[name]] = value
        written.tagtype[known[name]] = 3
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, tiffinfo=written)
    return path


def pgm(path: Path, values: np.ndarray, maxval: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind, size = ("P5" if values.ndim == 2 else "P6"), f"{values.shape[1]} {values.shape[0]}"
    path.write_bytes(f"{kind}\n{size}\n{maxval}\n".encode() + values.astype(">u2").tobytes())
    return path


def ramp(bits: int, seed: int = 0, channels: int = 0) -> np.ndarray:
    """Samples up to full scale of so many bits."""
    shape = (HEIGHT, WIDTH, channels) if channels else (HEIGHT, WIDTH)
    values = np.random.default_rng(seed).integers(0, 1 << bits, shape).astype(np.uint16)
    values.flat[0] = (1 << bits) - 1
    return values


def write_set(folder: Path, write: Callable[[Path, int], Path]) -> str:
    for number in range(10):
        write(folder / f"front_{number:03d}", number)
    return str(folder)


def manifest(tmp_path: Path, **keys: object) -> str:
    text = "".join(f"{key} = {value!r}\n" for key, value in keys.items())
    (tmp_path / "set.toml").write_text(f"name = 'set'\n[[sources]]\npath = 'set'\n{text}")
    return str(tmp_path / "set.toml")


@pytest.mark.parametrize("channels", [0, 3, 4])
@pytest.mark.parametrize("bits", [10, 12, 14, 15])
def test_what_states_no_scale_and_never_reaches_half_of_it_is_asked_for(tmp_path, channels, bits):
    reference = write_set(tmp_path / "set", lambda path, seed: png(path.with_suffix(".png"), ramp(bits, seed, channels)))
    for ask in (load, open_source):
        with pytest.raises(CalibrationError) as caught:
            ask(reference)
        assert "16 bits a sample, and nothing says what full scale is" in caught.value.what
        assert caught.value.evidence == (
            f"front_*.png: the largest sample of the 10 pictures looked at is {(1 << bits) - 1} of 65535, "
            f"which looks like {bits} bits",
        )
        assert "8 bits" in caught.value.remedy
    for command in (["calibration", "lint", reference], ["calibration", "show", reference]):
        assert run(command) == 4
    assert run(["build", "demo", "--calibration", reference, "--target", "cpu"]) == 4


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("channels", [0, 3, 4])
def test_the_user_may_say_it(tmp_path, bits, channels):
    def values(seed: int) -> np.ndarray:
        made = ramp(bits, seed, channels)
        if channels == 4:
            made[..., 3] = (1 << bits) - 1
        return made

    write_set(tmp_path / "set", lambda path, seed: png(path.with_suffix(".png"), values(seed)))
    frames = load(manifest(tmp_path, bits=bits)).frames
    for seed, frame in enumerate(frames):
        expected = values(seed) >> (bits - 8)
        assert np.array_equal(frame.read(), expected[..., :3] if channels else expected[..., None].repeat(3, 2))
    assert (frames[0].read().max(), len(split(load(manifest(tmp_path, bits=bits))).calibration)) == (255, 7)


def test_bits_are_part_of_the_hashes_and_the_files_own_scale_is_not(tmp_path):
    write_set(tmp_path / "set", lambda path, seed: png(path.with_suffix(".png"), ramp(10, seed)))
    sets = [load(manifest(tmp_path, bits=bits)) for bits in (10, 12, 16)]
    assert len({loaded.sha256 for loaded in sets}) == len({loaded.frames[0].digest for loaded in sets}) == 3


@pytest.mark.parametrize("bits", [8, 17, "12", 12.5, True])
def test_bits_are_9_to_16(tmp_path, bits):
    write_set(tmp_path / "set", lambda path, seed: png(path.with_suffix(".png"), ramp(12, seed)))
    text = str(bits).lower() if isinstance(bits, bool) else repr(bits)
    (tmp_path / "set.toml").write_text(f"name = 'set'\n[[sources]]\npath = 'set'\nbits = {text}\n")
    with pytest.raises(CalibrationError, match=r"sources\.0\.bits"):
        load(str(tmp_path / "set.toml"))


def test_a_sample_beyond_the_scale_that_was_told_is_damage(tmp_path):
    write_set(tmp_path / "set", lambda path, seed: png(path.with_suffix(".png"), ramp(12, seed)))
    with pytest.raises(CalibrationError) as caught:
        load(manifest(tmp_path, bits=10)).frames[0].read()
    assert caught.value.evidence == ("its largest sample is 4095, and full scale is said to be 1023",)


@pytest.mark.parametrize("channels", [0, 3])
def test_full_scale_is_seen_even_in_one_picture_of_many(tmp_path, channels):
    def write(path: Path, seed: int) -> Path:
        return png(path.with_suffix(".png"), ramp(16 if seed == 7 else 11, seed, channels))

    frames = load(write_set(tmp_path / "set", write)).frames
    assert np.array_equal(frames[0].read()[..., 0], (ramp(11, 0, channels) >> 8).reshape(HEIGHT, WIDTH, -1)[..., 0])
    shots = list(open_source(str(tmp_path / "set")).shots())
    assert all(np.array_equal(shot.read(), frame.read()) for shot, frame in zip(shots, frames, strict=True))


def test_each_camera_is_judged_alone(tmp_path):
    for number in range(8):
        png(tmp_path / "set" / f"front_{number}.png", ramp(16, number))
        png(tmp_path / "set" / f"rear_{number}.png", ramp(12, number))
    with pytest.raises(CalibrationError) as caught:
        load(str(tmp_path / "set"))
    assert [fact.split(":")[0] for fact in caught.value.evidence] == ["rear_*.png"]


@pytest.mark.parametrize("maxval", [255, 1000, 1023, 4095, 16383, 65535])
@pytest.mark.parametrize("channels", [0, 3])
@pytest.mark.parametrize("suffix", [".pgm", ".ppm", ".pnm"])
def test_a_maxval_is_obeyed(tmp_path, maxval, channels, suffix):
    values = np.linspace(0, maxval, HEIGHT * WIDTH * (channels or 1)).astype(np.uint16)
    values = values.reshape((HEIGHT, WIDTH, channels) if channels else (HEIGHT, WIDTH))
    path = tmp_path / f"a{suffix}"
    if maxval > 255:
        pgm(path, values, maxval)
    else:
        Image.fromarray(values.astype(np.uint8)).save(path, "PPM")
    expected = values.astype(float) / maxval * 255
    read = load(str(path)).frames[0].read().astype(float)
    assert np.abs(read - (expected if channels else expected[..., None])).max() <= 1
    (shot,) = open_source(str(path)).shots()
    assert np.array_equal(shot.read(), read)


def test_a_maxval_wins_over_what_the_samples_look_like(tmp_path):
    reference = write_set(tmp_path / "set", lambda path, seed: pgm(path.with_suffix(".pgm"), ramp(10, seed), 4095))
    assert abs(int(load(reference).frames[0].read().max()) - 63) <= 1


@pytest.mark.parametrize(
    ("tags", "white"), [({"max_sample": 4095}, 4095), ({"white_level": 4095}, 4095), ({"white_level": 3000}, 3000)]
)
def test_a_tiffs_tags_are_obeyed(tmp_path, tags, white):
    values = ramp(12) % (white + 1)
    path = tiff(tmp_path / "a.tif", values, **tags)
    read = load(str(path)).frames[0].read()[..., 0].astype(float)
    assert np.abs(read - values.astype(float) / white * 255).max() <= 1


def test_a_tiffs_largest_sample_is_no_scale(tmp_path):
    path = tiff(tmp_path / "a.tif", ramp(12) % 3001, max_sample=3000)
    with pytest.raises(CalibrationError, match="nothing says what full scale is"):
        load(str(path))


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_tiffs_of_16_bits(tmp_path, compression):
    (tmp_path / "set").mkdir()
    for bits in (16, 12):
        values = ramp(bits)
        Image.fromarray(values).save(tmp_path / "set" / "a.tif", compression=compression)
        read = load(manifest(tmp_path, bits=bits)).frames[0].read()
        assert np.array_equal(read[..., 0], values >> (bits - 8))


def test_white_as_zero_is_refused_by_name(tmp_path):
    path = tiff(tmp_path / "a.tif", ramp(16))
    with Image.open(path) as image:
        image.tag_v2[262] = 0
        image.save(tmp_path / "b.tif", tiffinfo=image.tag_v2)
    content = bytearray((tmp_path / "b.tif").read_bytes())
    at = content.find(struct.pack("<HHI", 262, 3, 1))
    content[at + 8 : at + 10] = b"\0\0"
    (tmp_path / "b.tif").write_bytes(content)
    with pytest.raises(CalibrationError, match="white as zero"):
        load(str(tmp_path / "b.tif"))


@pytest.mark.parametrize("channels", [0, 3])
def test_significant_bits_that_lie_where_the_specification_wants_them(tmp_path, channels):
    """The upper ones, with what is below repeating them or zero."""

    def write(path: Path, seed: int) -> Path:
        values = ramp(11, seed, channels)  # dark: no sample reaches half
        return png(path.with_suffix(".png"), values << 4 | (values >> 8 if seed % 2 else 0), 12)

    frames = load(write_set(tmp_path / "set", write)).frames
    assert np.array_equal(frames[0].read().reshape(-1, 3)[:, 0], (ramp(11, 0, channels) >> 4).reshape(HEIGHT * WIDTH, -1)[:, 0])


@pytest.mark.parametrize("channels", [0, 3])
def test_significant_bits_that_lie_where_the_camera_put_them(tmp_path, channels):
    reference = write_set(tmp_path / "set", lambda path, seed: png(path.with_suffix(".png"), ramp(12, seed, channels), 12))
    frames = load(reference).frames
    assert np.array_equal(frames[3].read().reshape(-1, 3)[:, 0], (ramp(12, 3, channels) >> 4).reshape(HEIGHT * WIDTH, -1)[:, 0])
    shots = list(open_source(reference).shots())
    assert np.array_equal(shots[3].read(), frames[3].read())


def test_all_bits_significant_is_a_statement(tmp_path):
    reference = write_set(tmp_path / "set", lambda path, seed: png(path.with_suffix(".png"), ramp(14, seed), 16))
    assert load(reference).frames[0].read().max() == 63


def test_orientation_and_transparency_go_with_16_bits(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    values = ramp(12, 1)
    path = png(tmp_path / "set" / "a.png", values, None, chunk(b"eXIf", exif.tobytes()[6:]))
    assert path.exists()
    read = load(manifest(tmp_path, bits=12)).frames[0].read()
    assert np.array_equal(read[..., 0], np.rot90(values >> 4, -1))
    clear = ramp(12, 2, 4)
    clear[..., 3] = 0
    png(tmp_path / "set" / "a.png", clear)
    assert load(manifest(tmp_path, bits=12)).frames[0].read().max() == 0


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_what_has_no_range_is_refused_by_name(tmp_path, kind):
    Image.fromarray(np.ones((8, 8), kind)).save(tmp_path / "a.tif")
    with pytest.raises(CalibrationError, match="no known range"):
        load(str(tmp_path / "a.tif")).frames[0].read()


def test_a_set_that_somebody_made_too_dark_is_told(tmp_path, pixels):
    (tmp_path / "set").mkdir()
    for number in range(36):
        Image.fromarray(pixels(number) >> 4).save(tmp_path / "set" / f"photo {chr(97 + number % 26)}{number // 26 * 'x'}.png")
    loaded = load(str(tmp_path / "set"))
    matching = [finding for finding in lint(loaded).findings if "scaled wrongly" in finding.text]
    assert [finding.level for finding in matching] == ["warning"]
    assert any("scaled wrongly" in note for note in split(loaded).notes)


def test_ordinary_and_overexposed_light(frameset, pixels):
    from dataclasses import replace

    made = frameset(*((f"photo{number}", 0, number) for number in range(16)))
    assert split(made).notes == ()

    def shown(change):
        numbered = enumerate(made.frames)
        frames = (replace(frame, read=lambda at=at: change(at, pixels(at)).astype(np.uint8)) for at, frame in numbered)
        return split(replace(made, frames=tuple(frames))).notes

    assert "overexposed" in shown(lambda at, picture: np.clip(picture.astype(int) + 200, 0, 255))[0]
    assert "dark" in shown(lambda at, picture: (picture * 0.6) // (1 if at % 5 == 0 else 9))[0]
