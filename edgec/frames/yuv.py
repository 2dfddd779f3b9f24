"""Frames in YUV, as cameras and drivers give them, to RGB. FFmpeg's swscale computes the colours, through PyAV.

Which numbers stand for which colours is no part of the pixels. Without a statement BT.601 in the limited range is meant (Y 16 to
235, U and V 16 to 240): what Video4Linux' cameras give by default, and what `cv_bridge` and OpenCV take YUV for. Of each pair or
square of pixels that share U and V, all get the same, as in OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgec import extras
from edgec.frames.types import Pixels

Layout = Literal["nv12", "nv21", "nv24", "yuyv", "uyvy"]
Matrix = Literal["bt601", "bt709"]
Range = Literal["limited", "full"]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Colours:
    """What the numbers mean: ITU-R BT.601 or BT.709, and whether black and white are 16 and 235 or 0 and 255."""

    matrix: Matrix = "bt601"
    range: Range = "limited"


DEFAULT = Colours()


def rows_of(layout: Layout, height: int) -> int:
    """Rows of a frame's bytes, each a stride long: those of Y and, in `nv` layouts, those of U and V after them."""
    return {"nv12": height + height // 2, "nv21": height + height // 2, "nv24": 3 * height}.get(layout, height)


def least_stride(layout: Layout, width: int) -> int:
    """Bytes of a row without padding."""
    return width if layout.startswith("nv") else 2 * width


def misfit(layout: Layout, height: int, width: int) -> str:
    """Why there is no frame of this size in the layout; empty if there is."""
    if min(height, width) < 1:
        return "it has no pixels"
    if layout != "nv24" and width % 2:
        return f"{layout} stores colours for pairs of pixels, and its width of {width} is odd"
    if layout in ("nv12", "nv21") and height % 2:
        return f"{layout} stores colours for pairs of rows, and its height of {height} is odd"
    return ""


def to_rgb(data: Bytes, layout: Layout, height: int, width: int, colours: Colours = DEFAULT) -> Pixels:
    """uint8 [H, W, 3] from the rows of a frame, uint8 [`rows_of`, `least_stride`], without padding. The size must fit the layout.

    Raises `MissingPackage` if PyAV is not installed.
    """
    extras.require("video", f"Reading frames in {layout}")
    import av
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    matrix = Colorspace.ITU601 if colours.matrix == "bt601" else Colorspace.ITU709
    planes = np.ascontiguousarray(np.stack(_planes(data, layout, height, width)))
    # At full resolution of U and V, where swscale is exact to a grey level; its fast paths for 4:2:0 and 4:2:2 are off by three.
    converted = av.VideoFrame.from_ndarray(planes, format="yuv444p").reformat(
        format="rgb24",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=ColorRange.MPEG if colours.range == "limited" else ColorRange.JPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.POINT,
    )
    pixels: Any = converted.to_ndarray()
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def _planes(data: Bytes, layout: Layout, height: int, width: int) -> tuple[Bytes, Bytes, Bytes]:
    """Y, U and V, each [H, W]."""
    if layout in ("yuyv", "uyvy"):
        pairs = data.reshape(height, width // 2, 4)
        order = (0, 1, 2, 3) if layout == "yuyv" else (1, 0, 3, 2)
        first, u, second, v = (pairs[..., place] for place in order)
        luma = np.stack((first, second), -1).reshape(height, width)
        return luma, u.repeat(2, 1), v.repeat(2, 1)
    luma = data[:height]
    if layout == "nv24":
        chroma = data[height:].reshape(height, width, 2)
        return luma, chroma[..., 0], chroma[..., 1]
    chroma = data[height:].reshape(height // 2, width // 2, 2).repeat(2, 0).repeat(2, 1)
    first, second = chroma[..., 0], chroma[..., 1]
    return (luma, first, second) if layout == "nv12" else (luma, second, first)
