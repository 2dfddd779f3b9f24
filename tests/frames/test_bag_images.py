"""Messages with pictures → RGB: encodings, rows with padding, byte order, compressed ones, and what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from edgec.errors import CalibrationError
from edgec.frames import load
from tests.frames.conftest import scene
from tests.support.bags import BEGIN_NS, Message, compressed, image, rgb, write_bag
from tests.support.yuv import planes_of, rgb_of

pytest.importorskip("rosbags", reason="rosbags is not installed: pip install edgec[ros]")

H, W = 48, 64


@pytest.fixture
def pixels() -> np.ndarray:
    return scene(3, H, W)


def only(tmp_path, message: Message) -> np.ndarray:
    """The picture of the one message, from a bag."""
    (frame,) = load(str(write_bag(tmp_path / "one", [message], "mcap"))).frames
    return frame.read()


def padded(rows: np.ndarray, surplus: int) -> np.ndarray:
    """With rubbish behind each row."""
    rubbish = np.random.default_rng(0).integers(0, 256, (len(rows), surplus), dtype=np.uint8)
    return np.concatenate([rows, rubbish], axis=1)


@pytest.mark.parametrize("surplus", [0, 24])
@pytest.mark.parametrize("big", [0, 1])
@pytest.mark.parametrize(
    ("encoding", "order"), [("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0]), ("rgba8", [0, 1, 2, 2]), ("bgra8", [2, 1, 0, 2])]
)
def test_colours_in_any_order_with_any_stride(tmp_path, pixels, encoding, order, big, surplus):
    """`is_bigendian` says nothing about samples of one byte."""
    rows = padded(pixels[:, :, order].reshape(H, -1), surplus)
    assert np.array_equal(only(tmp_path, image(rows, encoding, H, W, big=big)), pixels)


def test_grey_is_repeated(tmp_path, pixels):
    grey = pixels[:, :, 1]
    assert np.array_equal(only(tmp_path, image(padded(grey, 8), "mono8", H, W)), np.stack([grey] * 3, -1))


@pytest.mark.parametrize("surplus", [0, 16])
@pytest.mark.parametrize(
    ("encoding", "layout"),
    [
        ("yuv422", "uyvy"),
        ("uyvy", "uyvy"),
        ("yuv422_yuy2", "yuyv"),
        ("yuyv", "yuyv"),
        ("nv12", "nv12"),
        ("nv21", "nv21"),
        ("nv24", "nv24"),
    ],
)
def test_yuv_is_bt601_in_the_limited_range(tmp_path, encoding, layout, surplus):
    rows, planes = planes_of(layout, H, W)
    actual = only(tmp_path, image(padded(rows, surplus), encoding, H, W))
    assert int(np.abs(actual.astype(int) - rgb_of(*planes, "bt601", "limited")).max()) <= 1


def test_a_message_in_the_other_byte_order_is_the_same_picture(tmp_path, pixels):
    assert np.array_equal(only(tmp_path, rgb(pixels, little_endian=False)), pixels)


def test_the_last_row_may_lack_its_padding(tmp_path, pixels):
    rows = padded(pixels.reshape(H, -1), 10)
    message = image(rows, "rgb8", H, W)
    message.fields["data"] = message.fields["data"][:-10]
    assert np.array_equal(only(tmp_path, message), pixels)


@pytest.mark.parametrize(
    ("encoding", "says", "remedy"),
    [
        ("bayer_rggb8", "'bayer_rggb8'", "debayering node"),
        ("bayer_gbrg16", "'bayer_gbrg16'", "debayering node"),
        ("16UC1", "'16UC1'", "depth or another measurement"),
        ("32FC1", "'32FC1'", "choose the camera's topic"),
        ("mono16", "'mono16'", "8 bits a sample"),
        ("rgb16", "'rgb16'", "8 bits a sample"),
        ("8UC3", "'8UC3'", "rgb8, bgr8 or mono8"),
        ("h\x1b[31m", "'h\ufffd[31m'", "record the camera's topic in one of rgb8"),
    ],
)
def test_other_encodings_are_refused_by_their_name(tmp_path, encoding, says, remedy):
    path = write_bag(tmp_path / "one.bag", [image(np.zeros((H, 6 * W), np.uint8), encoding, H, W)])
    with pytest.raises(CalibrationError, match=r"No frame can be read from one\.bag") as caught:
        load(str(path))
    assert f"/camera/image_raw: its pictures have the encoding {says}" in caught.value.evidence[0]
    assert "\x1b" not in str(caught.value)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("stated", ["png", "rgb8; png compressed bgr8", "bgr8; png compressed bgr8"])
def test_png_messages_are_exact(tmp_path, pixels, stated):
    assert np.array_equal(only(tmp_path, compressed(pixels, stated)), pixels)


def test_jpeg_messages_are_decoded_as_files_are(tmp_path, pixels):
    file = tmp_path / "picture.jpg"
    Image.fromarray(pixels).save(file, quality=85)
    (expected,) = load(str(file)).frames
    assert np.array_equal(only(tmp_path, compressed(file.read_bytes(), "jpeg")), expected.read())


def sixteen_bits() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((H, W), 40_000, np.uint16)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "stated", "reason"),
    [
        (b"\0" * 12 + sixteen_bits(), "16UC1; compressedDepth png", "16UC1; compressedDepth png"),
        (b"\0\0\0\1\x67", "h264", "compressed as 'h264', neither JPEG nor PNG"),
        (sixteen_bits(), "png", "16 bits a sample"),
    ],
)
def test_other_compressed_pictures_are_refused(tmp_path, data, stated, reason):
    path = write_bag(tmp_path / "one", [compressed(data, stated)], "mcap")
    with pytest.raises(CalibrationError) as caught:
        load(str(path))
    assert reason in " ".join(caught.value.evidence)


BROKEN = {
    "cut short: 100 of": lambda good: image(good.reshape(H, -1)[:1, :100], "rgb8", H, W, step=3 * W),
    "its step is 10": lambda good: image(good.reshape(H, -1), "rgb8", H, W, step=10),
    "it has no pixels": lambda good: image(good.reshape(H, -1), "rgb8", 0, W),
    "larger than 89 megapixels": lambda good: image(good.reshape(H, -1), "rgb8", 2**31, 2**31),
    "its width of 63 is odd": lambda good: image(good.reshape(H, -1), "yuyv", H, 63),
    "the message cannot be read": lambda good: Message({**rgb(good).fields}, damage=b"\0\1\0\0nothing like a picture"),
    "have the encoding '16UC1'": lambda good: image(good.reshape(H, -1), "16UC1", H, W),
    "a Bayer mosaic": lambda good: image(mosaic(good), "mono8", H, W),
}


def mosaic(pixels: np.ndarray) -> np.ndarray:
    """What a sensor with an RGGB filter sees of a colourful scene."""
    seen = pixels[:, :, 1].copy()
    seen[::2, ::2], seen[1::2, 1::2] = pixels[::2, ::2, 0], pixels[1::2, 1::2, 2]
    return seen


@pytest.mark.parametrize("reason", BROKEN)
def test_damaged_messages_are_named_and_left_out(tmp_path, pixels, reason):
    """The second of three messages."""
    messages = [rgb(pixels), BROKEN[reason](pixels), rgb(scene(4, H, W))]
    timed = [Message(each.fields, BEGIN_NS + number, damage=each.damage) for number, each in enumerate(messages)]
    loaded = load(str(write_bag(tmp_path / "three", timed, "mcap")))
    assert [frame.name[-1] for frame in loaded.frames] == ["0", "2"]
    ((name, said),) = loaded.skipped
    assert name == "three/camera/image_raw#000001"
    assert reason in said
