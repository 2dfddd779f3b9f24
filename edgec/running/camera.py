"""A camera, through PyAV: Video4Linux, which the wheels of PyAV have."""

from __future__ import annotations

import errno
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgec.errors import CalibrationError, RequestError
from edgec.extras import require
from edgec.frames import Pixels, video
from edgec.frames.collecting import natural
from edgec.records.reading import printable
from edgec.running.sources import Source
from edgec.running.types import Shot

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

_REMEDIES = {
    errno.EACCES: "let your user use cameras: sudo usermod -aG video $USER, then log in again",
    errno.EPERM: "let your user use cameras: sudo usermod -aG video $USER, then log in again",
    errno.EBUSY: "end the program that uses it, and try again",
}
_SUDDEN_END = (errno.ENODEV, errno.EIO)


def device_of(reference: str) -> str | None:
    """The path of a camera's device, from `camera:N`, `camera:/dev/…`, `/dev/videoN` or a link to a device; None for anything
    else. Raises `RequestError` for `camera:` followed by something else."""
    if reference.startswith("camera:"):
        named = reference.removeprefix("camera:")
        if named.isdecimal():
            return f"/dev/video{int(named)}"
        if named.startswith("/dev/"):
            return named
        raise RequestError(
            f"{printable(reference)!r} names no camera.", evidence=_cameras_here(), remedy="write camera:0, or the device's path"
        )
    if re.fullmatch(r"/dev/video\d+", reference):
        return reference
    try:
        return reference if stat.S_ISCHR(Path(reference).stat().st_mode) else None
    except (OSError, ValueError):
        return None


class Camera(Source):
    """A camera, opened at once, so that a run which cannot have it ends before anything is written.

    `style` is FFmpeg's name of the kind of device. Raises `CalibrationError` if there is no camera, or it cannot be opened.
    """

    waits = False
    moving = True

    def __init__(self, device: str, style: str = "v4l2", options: Mapping[str, str] | None = None) -> None:
        if style == "v4l2" and sys.platform != "linux":
            raise CalibrationError(
                "Cameras are read on Linux only, through Video4Linux.",
                evidence=f"this is {sys.platform}",
                remedy="record a video",
            )
        require("video", f"Reading the camera {printable(device)}")
        import av

        self.title = device
        try:
            self._container: InputContainer = av.open(device, format=style, options=dict(options or {}))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise _refusal(device, error) from error
        if not self._container.streams.video:
            self._container.close()
            raise CalibrationError(f"{printable(device)} gives no video.", evidence=_cameras_here())
        self.rate = float(self._container.streams.video[0].average_rate or 0) or None

    def shots(self, every: int = 1) -> Iterator[Shot]:
        """Frames until the camera ends or the generator is closed. Raises `CalibrationError` if the camera was unplugged."""
        import av

        stream = self._container.streams.video[0]
        number, first = 0, None
        try:
            for packet in self._container.demux(stream):
                frames, fault = video.decode(packet)
                if fault and not frames and packet.size:  # a broken picture of a stream that goes on
                    yield Shot(f"camera#{number:06d}", number, None, partial(_broken, fault))
                    number += 1
                for frame in frames:
                    first = frame.time if first is None else first
                    time_s = None if frame.time is None or first is None else frame.time - first
                    if number % every == 0:
                        yield Shot(f"camera#{number:06d}", number, time_s, partial(_pixels, frame, fault))
                    number += 1
        except (av.error.FFmpegError, OSError) as error:
            what = "is gone" if error.errno in _SUDDEN_END else "gives no more frames"
            raise CalibrationError(f"The camera {printable(self.title)} {what}.", evidence=_reason(error)) from error
        finally:
            self._container.close()


def _pixels(frame: VideoFrame, fault: str) -> Pixels:
    if fault or frame.is_corrupt:
        return _broken(fault or "its data is damaged")
    return np.ascontiguousarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)


def _broken(reason: str) -> Pixels:
    raise CalibrationError("The camera's frame is damaged.", evidence=reason)


def _refusal(device: str, error: Exception) -> CalibrationError:
    code = getattr(error, "errno", None)
    what = "There is no camera" if code == errno.ENOENT else "The camera cannot be opened:"
    return CalibrationError(
        f"{what} {printable(device)}.",
        evidence=(_reason(error), _cameras_here()),
        remedy=_REMEDIES.get(code or 0, "name another, as camera:0; `v4l2-ctl --list-devices` tells which gives pictures"),
    )


def _cameras_here() -> str:
    devices = sorted((path.name for path in Path("/dev").glob("video[0-9]*")), key=natural)
    return f"cameras here: {', '.join(f'/dev/{name}' for name in devices) or 'none'}"


def _reason(error: Exception) -> str:
    return printable(str(getattr(error, "strerror", None) or error)).lower()
