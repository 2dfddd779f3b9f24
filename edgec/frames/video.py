"""Video files → single frames, decoded as a stream: one decoder is open at a time, and reading forward decodes each frame once.

PyAV is imported on use; it is the extra `video`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgec.errors import CalibrationError
from edgec.frames.pictures import damaged, unreadable
from edgec.frames.types import Pixels

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

SUFFIXES = frozenset({".avi", ".mp4", ".m4v", ".mkv", ".mov", ".webm"})
INSTALL = 'pip install "edgec[video]"'

_FEWEST, _MOST = 64, 512


@dataclass(frozen=True)
class Video:
    """A video that opens and whose first frame decodes. `timestamps` are its frames' own, ascending, and `keyframes` those that
    decoding can start at; both are empty where the file does not tell, and then frames are found by counting."""

    path: Path
    frames: int
    rate: float
    """Frames a second; 0 where the file does not tell."""
    timestamps: tuple[int, ...] = ()
    keyframes: tuple[int, ...] = ()

    def default_stride(self) -> int:
        """One frame a second, unless that would give fewer than 64 frames of the video or more than 512."""
        second = max(1, round(self.rate))
        return max(1, min(second, self.frames // _FEWEST), -(-self.frames // _MOST))


class UnusableVideo(Exception):
    """Why a file is no video that can be read."""


def require_decoder(name: str) -> None:
    """Raises `CalibrationError` with the line that installs PyAV where it is missing."""
    if find_spec("av") is None:
        raise CalibrationError(f"Reading the video {name} needs PyAV, which is not installed.", remedy=INSTALL)


def probe(path: Path) -> Video:
    """Counts the frames without decoding them, and decodes the first. Raises `UnusableVideo` with the reason."""
    import av

    reason = unreadable(path)
    if reason is not None:
        raise UnusableVideo(reason)
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UnusableVideo("holds no video")
            stream = container.streams.video[0]
            rate = float(stream.average_rate or 0)
            packets = [
                (packet.pts, packet.is_keyframe) for packet in container.demux(stream) if packet.size and not packet.is_discard
            ]
        with av.open(str(path)) as container:
            first = next((frame for frame in _decoded(container) if frame is not None), None)
            # AVI stores no presentation times: with B-frames, what stands for them is the order of decoding.
            guessed = container.format.name == "avi" and container.streams.video[0].codec_context.has_b_frames
    except av.error.FFmpegError as error:
        raise UnusableVideo(f"cannot be decoded ({error.strerror or error})".lower()) from error
    if not packets or first is None:
        raise UnusableVideo("holds no frame that can be decoded")
    stamps = [pts for pts, _ in packets if pts is not None]
    # A frame is looked up by its time only where every frame has one of its own and the decoder gives it back.
    if not guessed and len(set(stamps)) == len(packets) and first.pts == min(stamps):
        keys = sorted(pts for pts, key in packets if key and pts is not None)
        return Video(path, len(packets), rate, tuple(sorted(stamps)), tuple(keys))
    return Video(path, len(packets), rate)


class Projector:
    """Shows frames of any number of videos, with one of them open at a time."""

    def __init__(self) -> None:
        self._video: Video | None = None
        self._container: InputContainer | None = None
        self._stream: Iterator[VideoFrame | None] = iter(())
        self._next = 0
        """The index (or, with timestamps, the least timestamp) that the stream can still give."""

    def read(self, video: Video, index: int, name: str) -> Pixels:
        """Frame `index` of the video, upright. Raises `CalibrationError` naming it if it is damaged."""
        import av

        try:
            frame = self._by_time(video, index) if video.timestamps else self._by_count(video, index)
            if frame is None or frame.is_corrupt:
                raise damaged(name, "this frame of the video cannot be decoded")
            return _pixels(frame)
        except (av.error.FFmpegError, OSError) as error:
            self.close()
            raise damaged(name, f"cannot be decoded ({error})") from error

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._video, self._container, self._stream = None, None, iter(())

    def _by_time(self, video: Video, index: int) -> VideoFrame | None:
        wanted = video.timestamps[index]
        start = bisect_right(video.keyframes, wanted) - 1
        # Going on is cheaper than starting at a keyframe that has been passed already.
        if self._video is not video:
            self._open(video)
        if wanted < self._next or (start >= 0 and video.keyframes[start] > self._next):
            self._start_at(video.keyframes[max(start, 0)])
        for frame in self._stream:
            if frame is None or frame.pts is None or frame.pts < wanted:
                continue
            self._next = frame.pts + 1
            return frame if frame.pts == wanted else None
        self.close()
        return None

    def _by_count(self, video: Video, index: int) -> VideoFrame | None:
        if self._video is not video or index < self._next:
            self._open(video)
        for frame in self._stream:
            self._next += 1
            if self._next > index:
                return frame
        self.close()
        return None

    def _open(self, video: Video) -> None:
        import av

        self.close()
        self._video, self._container = video, av.open(str(video.path))
        self._stream, self._next = _decoded(self._container), video.timestamps[0] if video.timestamps else 0

    def _start_at(self, keyframe: int) -> None:
        assert self._container is not None
        self._container.seek(keyframe, stream=self._container.streams.video[0])
        self._stream, self._next = _decoded(self._container), keyframe


def _decoded(container: InputContainer) -> Iterator[VideoFrame | None]:
    """Every frame of the first video stream; None stands for one that the decoder gave up on, so that counting stays right."""
    import av

    stream = container.streams.video[0]
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            yield None


def _pixels(frame: VideoFrame) -> Pixels:
    pixels = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns), dtype=np.uint8)
