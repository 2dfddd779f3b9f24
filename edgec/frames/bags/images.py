"""Messages of cameras → uint8 RGB: `sensor_msgs/Image` in the encodings of 8-bit cameras, and `sensor_msgs/CompressedImage`.

Messages are read by `rosbags`' own definitions of these types, which are the same in all versions of ROS 2, not by those in the
bag. Rows are cut from their `step`. `is_bigendian` is about samples of several bytes, which no encoding here has.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from edgec.frames import mosaic, yuv
from edgec.frames.bags.opening import reason_of
from edgec.frames.pictures import MAX_MEGAPIXELS, damaged, decode_message
from edgec.frames.types import Pixels
from edgec.untrusted import printable

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
TYPES = (IMAGE, COMPRESSED)

_CHANNELS = {"rgb8": (0, 1, 2), "bgr8": (2, 1, 0), "rgba8": (0, 1, 2, 3), "bgra8": (2, 1, 0, 3), "mono8": (0,)}
"""Where red, green, blue and what is not used are in a pixel."""
_YUV = {
    "yuv422": "uyvy",  # by the definition in sensor_msgs/image_encodings
    "uyvy": "uyvy",
    "yuv422_yuy2": "yuyv",
    "yuyv": "yuyv",
    "nv12": "nv12",  # Isaac ROS' name; sensor_msgs has the other two
    "nv21": "nv21",
    "nv24": "nv24",
}
ENCODINGS = (*_CHANNELS, *_YUV)
_COLOURS = "record the camera's topic in one of " + ", ".join(ENCODINGS)
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG"


class Unsupported(Exception):
    """Pictures of an encoding that are no frames of a camera with 8 bits; `remedy` says what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


def decode(data: bytes, kind: str, name: str, *, ros1: bool) -> Pixels:
    """The picture in a message. Raises `CalibrationError` with the frame's name if it is damaged or of another encoding."""
    try:
        message = _message(data, kind, ros1=ros1)
        if kind == IMAGE:
            return _pixels(message)
        return decode_message(_picture_file(message), name)
    except _Damaged as error:
        raise damaged(name, str(error)) from error
    except Unsupported as error:
        raise damaged(name, f"{error}: {error.remedy}") from error


def check(data: bytes, kind: str, *, ros1: bool) -> None:
    """Raises `Unsupported` if pictures like this one cannot be used. Damage is not looked for."""
    try:
        message = _message(data, kind, ros1=ros1)
    except _Damaged:
        return
    if kind == IMAGE:
        _require_encoding(str(message.encoding))
    elif len(message.data):
        _picture_file(message)


class _Damaged(Exception):
    """Why a message holds no picture."""


@cache
def _types(ros1: bool) -> Typestore:
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.LATEST)


def _message(data: bytes, kind: str, *, ros1: bool) -> Any:
    store = _types(ros1)
    try:
        return store.deserialize_ros1(data, kind) if ros1 else store.deserialize_cdr(data, kind)
    except Exception as error:  # over damaged bytes it raises whatever its decoders do
        raise _Damaged(f"the message cannot be read ({reason_of(error)})") from error


def _pixels(message: Any) -> Pixels:
    encoding, height, width, step = str(message.encoding), int(message.height), int(message.width), int(message.step)
    _require_encoding(encoding)
    layout = cast("yuv.Layout | None", _YUV.get(encoding.lower()))
    reason = yuv.misfit(layout, height, width) if layout else "" if min(height, width) else "it has no pixels"
    if not reason and height * width > MAX_MEGAPIXELS * 1_000_000:
        reason = f"larger than {MAX_MEGAPIXELS} megapixels"
    if reason:
        raise _Damaged(reason)
    channels = _CHANNELS.get(encoding.lower(), ())
    rows = yuv.rows_of(layout, height) if layout else height
    used = yuv.least_stride(layout, width) if layout else width * len(channels)
    data = np.asarray(message.data, np.uint8).reshape(-1)
    if step < used:
        raise _Damaged(f"a row of {width} pixels in {encoding} has {used} bytes, and its step is {step}")
    # The last row may come without its padding.
    if data.size < step * (rows - 1) + used:
        raise _Damaged(f"cut short: {data.size:,} of {step * rows:,} bytes")
    whole = data[: step * rows] if data.size >= step * rows else np.pad(data, (0, step * rows - data.size))
    cut = whole.reshape(rows, step)[:, :used]
    if layout:
        return yuv.to_rgb(cut, layout, height, width)
    if encoding.lower() == "mono8":
        if mosaic.is_mosaic(cut):
            raise _Damaged(mosaic.WHAT)
        return np.repeat(cut[:, :, None], 3, axis=2)
    return np.ascontiguousarray(cut.reshape(height, width, len(channels))[:, :, list(channels[:3])])


def _picture_file(message: Any) -> bytes:
    """The JPEG or PNG in a compressed message."""
    stated, data = printable(str(message.format))[:60], bytes(message.data)
    if "compresseddepth" in stated.lower() or stated.lower().startswith(("16uc1", "32fc1", "mono16", "bayer")):
        raise Unsupported(f"its pictures are {stated!r}", _remedy(stated.lower()))
    if not data.startswith((_JPEG, _PNG)):
        raise Unsupported(
            f"its pictures are compressed as {stated!r}, neither JPEG nor PNG",
            "record the camera's raw or JPEG topic, or export a video, and give that",
        )
    return data


def _require_encoding(encoding: str) -> None:
    if encoding.lower() not in ENCODINGS:
        raise Unsupported(f"its pictures have the encoding {printable(encoding)[:40]!r}", _remedy(encoding.lower()))


def _remedy(encoding: str) -> str:
    if encoding.startswith("bayer"):
        return "record the topic behind the debayering node (image_proc), such as image_color"
    if encoding.startswith(("16uc", "32fc", "32sc", "64fc", "16sc")) or "depth" in encoding:
        return "that is depth or another measurement, not a camera's picture: choose the camera's topic"
    if encoding.startswith(("8uc", "8sc")):
        return "that says nothing about colours: let the driver publish rgb8, bgr8 or mono8"
    if "16" in encoding:
        return "let the driver publish 8 bits a sample, as those that the model will see"
    return _COLOURS
