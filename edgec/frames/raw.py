"""Raw dumps: what `v4l2-ctl --stream-to` or a GStreamer `filesink` writes, frame after frame, in a format that the file does not
say. The user states it, as GStreamer's caps do: `nv12,width=640,height=480`."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import cast, get_args

import numpy as np

from edgec.errors import RequestError
from edgec.frames import yuv
from edgec.frames.pictures import MAX_MEGAPIXELS, damaged, system_reason, unreadable
from edgec.frames.types import Pixels
from edgec.untrusted import printable

SUFFIXES = frozenset({".nv12", ".nv21", ".yuyv", ".yuy2", ".uyvy", ".yuv", ".raw"})
EXAMPLE = "nv12,width=640,height=480"
LAYOUTS = ("nv12", "nv21", "yuyv", "uyvy")
_NAMES = {"yuy2": "yuyv", "yuyv422": "yuyv", "uyvy422": "uyvy"}
_NUMBERS = ("width", "height", "stride")
_CHOICES: dict[str, tuple[str, ...]] = {"matrix": get_args(yuv.Matrix), "range": get_args(yuv.Range)}
_BAYER = re.compile(r"bayer|^(rggb|bggr|grbg|gbrg)|^sr?(rggb|bggr|grbg|gbrg)\d")
_LARGEST_SIDE = 1 << 16


@dataclass(frozen=True)
class RawFormat:
    """How a dump's frames are stored. `stride` is the bytes of a row with its padding; in `nv` layouts U and V have it too."""

    layout: yuv.Layout
    width: int
    height: int
    stride: int
    colours: yuv.Colours = yuv.DEFAULT

    @property
    def frame_bytes(self) -> int:
        """Of one frame."""
        return self.stride * yuv.rows_of(self.layout, self.height)

    def __str__(self) -> str:
        text = f"{self.layout},width={self.width},height={self.height}"
        if self.stride != yuv.least_stride(self.layout, self.width):
            text += f",stride={self.stride}"
        stated = ((each.name, getattr(self.colours, each.name)) for each in fields(self.colours) if self.colours != yuv.DEFAULT)
        return text + "".join(f",{name}={value}" for name, value in stated)


@dataclass(frozen=True)
class Dump:
    """A file of such frames. `surplus` are bytes after the last whole frame."""

    path: Path
    format: RawFormat
    frames: int
    surplus: int


class UnusableDump(Exception):
    """Why a file holds no frame of that format."""


def parse(text: str) -> RawFormat:
    """The format that `nv12,width=640,height=480` states; `stride=`, `matrix=` and `range=` may follow. Raises `RequestError`."""
    name, *settings = (part.strip().lower() for part in text.split(","))
    layout = _NAMES.get(name, name)
    if layout not in LAYOUTS:
        remedy = f"write it as {EXAMPLE}; the layouts are {', '.join(LAYOUTS)}"
        if _BAYER.search(name):
            remedy = (
                "demosaic the dump first, as the robot's camera pipeline does, and store PNG: edgec does not know its colours"
            )
        raise _wrong(text, f"{printable(name)[:40]!r} is no layout of raw frames that edgec reads", remedy)
    stated: dict[str, str] = {}
    for setting in settings:
        key, equals, value = (part.strip() for part in setting.partition("="))
        if key not in (*_NUMBERS, *_CHOICES) or not equals or key in stated:
            raise _wrong(text, f"{printable(setting)[:40]!r} is no setting, or given twice")
        allowed = _CHOICES.get(key)
        if allowed and value not in allowed:
            raise _wrong(text, f"{key} is {' or '.join(allowed)}, not {printable(value)[:40]!r}")
        if not allowed and not (value.isascii() and value.isdecimal() and len(value) < 7 and 0 < int(value) <= _LARGEST_SIDE * 4):
            raise _wrong(text, f"{key} is a number of {'bytes' if key == 'stride' else 'pixels'}, not {printable(value)[:40]!r}")
        stated[key] = value
    if not {"width", "height"} <= stated.keys():
        raise _wrong(text, "it states no size")
    kind, width, height = cast(yuv.Layout, layout), int(stated["width"]), int(stated["height"])
    least = yuv.least_stride(kind, width)
    stride = int(stated.get("stride", least))
    reason = yuv.misfit(kind, height, width)
    if not reason and width * height > MAX_MEGAPIXELS * 1_000_000:
        reason = f"it is larger than {MAX_MEGAPIXELS} megapixels"
    if not reason and stride < least:
        reason = f"a row of {width} pixels has {least} bytes, more than its stride of {stride}"
    if reason:
        raise _wrong(text, reason)
    colours = yuv.Colours(
        cast(yuv.Matrix, stated.get("matrix", yuv.DEFAULT.matrix)), cast(yuv.Range, stated.get("range", yuv.DEFAULT.range))
    )
    return RawFormat(kind, width, height, stride, colours)


def probe(path: Path, stated: RawFormat) -> Dump:
    """Counts the frames by the file's size. Raises `UnusableDump`."""
    reason = unreadable(path)
    if reason is not None:
        raise UnusableDump(reason)
    size = path.stat().st_size
    frames, surplus = divmod(size, stated.frame_bytes)
    if not frames:
        raise UnusableDump(f"its {size:,} bytes are less than one frame of {stated}, which has {stated.frame_bytes:,}")
    return Dump(path, stated, frames, surplus)


def read(dump: Dump, index: int, name: str) -> Pixels:
    """The frame with this index. Raises `CalibrationError` naming it if the file is shorter by now."""
    stated = dump.format
    try:
        with dump.path.open("rb") as file:
            file.seek(index * stated.frame_bytes)
            data = file.read(stated.frame_bytes)
    except OSError as error:
        raise damaged(name, f"cannot be read: {system_reason(error)}") from error
    if len(data) < stated.frame_bytes:
        raise damaged(name, "cut short")
    rows = np.frombuffer(data, np.uint8).reshape(-1, stated.stride)[:, : yuv.least_stride(stated.layout, stated.width)]
    return yuv.to_rgb(rows, stated.layout, stated.height, stated.width, stated.colours)


def _wrong(text: str, reason: str, remedy: str = f"write it as {EXAMPLE}") -> RequestError:
    return RequestError(f"{printable(text)[:100]!r} is no format of raw frames.", evidence=reason, remedy=remedy)
