"""Video files → single frames. One decoder is open at a time, and reading in order decodes each frame once.

PyAV is imported on use; it is the extra `video`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgec import extras
from edgec.frames.pictures import damaged, unreadable
from edgec.frames.types import Pixels

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

SUFFIXES = frozenset({".avi", ".mp4", ".m4v", ".mkv", ".mov", ".webm"})

_FEWEST, _MOST = 64, 512
_DEEPEST = 16
"""Bits of a sample from which on formats do not say how many of them are used."""
_GAP = "Frame num gap"
_MISSING = (_GAP, "reference")
_CURVES = {16: "HDR (PQ)", 18: "HDR (HLG)"}


@dataclass(frozen=True)
class Video:
    """A video that opens and whose first frame decodes. `timestamps` are those of its frames, ascending, and `keyframes` those at
    which decoding can start; both are empty if the file does not say, and frames are then found by counting."""

    path: Path
    frames: int
    rate: float
    """Frames a second; 0 if the file does not say."""
    timestamps: tuple[int, ...] = ()
    keyframes: tuple[int, ...] = ()

    def default_stride(self) -> int:
        """The stride that takes one frame a second, but at least 64 frames of the video, if it has them, and at most 512."""
        second = max(1, round(self.rate))
        return max(1, min(second, self.frames // _FEWEST), -(-self.frames // _MOST))


class UnusableVideo(Exception):
    """Why a file cannot be read as a video."""


def require_decoder(name: str) -> None:
    """Raises `MissingPackage` with the line that installs PyAV if it is missing."""
    extras.require("video", f"Reading the video {name}")


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
            first = next((each.frame for each in _decoded(container) if each.frame is not None), None)
            # AVI stores no presentation times: with B-frames, FFmpeg gives the order of decoding instead.
            guessed = container.format.name == "avi" and container.streams.video[0].codec_context.has_b_frames
    except av.error.FFmpegError as error:
        raise UnusableVideo(f"cannot be decoded ({error.strerror or error})".lower()) from error
    if not packets or first is None:
        raise UnusableVideo("holds no frame that can be decoded")
    reason = _unlike_a_camera(first)
    if reason:
        raise UnusableVideo(reason)
    stamps = [pts for pts, _ in packets if pts is not None]
    # Frames are looked up by time only if every frame has a time of its own and the decoder returns it.
    if not guessed and len(set(stamps)) == len(packets) and first.pts == min(stamps):
        keys = sorted(pts for pts, key in packets if key and pts is not None)
        return Video(path, len(packets), rate, tuple(sorted(stamps)), tuple(keys))
    return Video(path, len(packets), rate)


class Projector:
    """Reads frames of any number of videos, with one of them open at a time."""

    def __init__(self) -> None:
        self._video: Video | None = None
        self._container: InputContainer | None = None
        self._stream: Iterator[_Decoded] = iter(())
        self._next = 0
        """The index (or, with timestamps, the smallest timestamp) that the stream can still give."""

    def read(self, video: Video, index: int, name: str) -> Pixels:
        """Frame `index` of the video, upright. Raises `CalibrationError` naming it if it is damaged."""
        import av

        try:
            decoded = self._by_time(video, index) if video.timestamps else self._by_count(video, index)
            if decoded is None or decoded.frame is None:
                raise damaged(name, "this frame of the video cannot be decoded")
            if decoded.fault:
                raise damaged(name, decoded.fault)
            return _pixels(decoded.frame)
        except (av.error.FFmpegError, OSError) as error:
            self.close()
            raise damaged(name, f"cannot be decoded ({error})") from error

    def close(self) -> None:
        """Closes the open video, if there is one."""
        if self._container is not None:
            self._container.close()
        self._video, self._container, self._stream = None, None, iter(())

    def _by_time(self, video: Video, index: int) -> _Decoded | None:
        time = video.timestamps[index]
        start = bisect_right(video.keyframes, time) - 1
        # Decoding on is cheaper than starting again at a keyframe that has been passed already.
        if self._video is not video:
            self._open(video)
        if time < self._next or (start >= 0 and video.keyframes[start] > self._next):
            self._start_at(video.keyframes[max(start, 0)])
        for each in self._stream:
            if each.frame is None or each.frame.pts is None or each.frame.pts < time:
                continue
            self._next = each.frame.pts + 1
            return each if each.frame.pts == time else None
        self.close()
        return None

    def _by_count(self, video: Video, index: int) -> _Decoded | None:
        if self._video is not video or index < self._next:
            self._open(video)
        for each in self._stream:
            self._next += 1
            if self._next > index:
                return each
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


@dataclass(frozen=True)
class _Decoded:
    """A frame as the decoder gives it, None if it gave up on it; `fault` is why the frame must not be used."""

    frame: VideoFrame | None
    fault: str = ""


def decode(packet: Packet[VideoStream]) -> tuple[list[VideoFrame], str]:
    """The packet's frames, and what is wrong with them: the decoder continues after damage, and only its log says so."""
    import av

    level, skipping = av.logging.get_level(), av.logging.get_skip_repeated()
    # H.264's decoder logs a missing frame at a lower level only.
    av.logging.set_level(av.logging.DEBUG if packet.stream.codec_context.name == "h264" else av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=False) as log:
            frames = packet.decode()
    except av.error.FFmpegError as error:
        return [], f"cannot be decoded ({error.strerror or error})".lower()
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skipping)
    problems = [text.strip() for severity, _, text in log if severity <= av.logging.ERROR or _GAP in text]
    if packet.is_corrupt:
        problems.append("it is cut short")
    return frames, f"its data is damaged ({problems[0]})" if problems else ""


class _Damage:
    """Which frames depend on damaged data: those whose own is damaged, and those after them up to the next keyframe, since each
    is drawn from the ones before it. Frames are identified by their times, as they are decoded in another order than shown."""

    def __init__(self) -> None:
        self._bad = ""
        self._by_time: dict[int, str] = {}
        self._keyframe: int | None = None
        self._leading = ""
        """What is wrong with frames that are stored after the last keyframe and shown before it."""

    def saw(self, packet: Packet[VideoStream], fault: str) -> None:
        pts = packet.pts
        if packet.is_keyframe:
            self._leading, self._bad, self._keyframe = self._bad, fault, pts
        elif pts is not None and self._keyframe is not None and pts < self._keyframe:
            self._leading = self._leading or fault
            self._by_time[pts] = self._leading
            return
        else:
            self._bad = self._bad or fault
        if any(word in fault for word in _MISSING):
            # This is noticed late: frames that wait to be shown may depend on it already.
            self._by_time = {time: known or fault for time, known in self._by_time.items()}
        if pts is not None:
            self._by_time[pts] = self._bad

    def of(self, frame: VideoFrame) -> str:
        fault = self._bad if frame.pts is None else self._by_time.pop(frame.pts, self._bad)
        if frame.is_corrupt:
            fault = fault or "its data is damaged"
            self._bad = self._bad or fault
            for pts in self._by_time:
                if frame.pts is not None and pts > frame.pts:
                    self._by_time[pts] = self._by_time[pts] or fault
        return fault


def _decoded(container: InputContainer) -> Iterator[_Decoded]:
    """Every frame of the first video stream, and an entry for each that the decoder gave up on, so that counting stays right."""
    stream = container.streams.video[0]
    damage = _Damage()
    for packet in container.demux(stream):
        frames, fault = decode(packet)
        if packet.size:
            damage.saw(packet, fault)
        if fault and not frames and packet.size:
            yield _Decoded(None, fault)
        for frame in frames:
            yield _Decoded(frame, damage.of(frame))


def _unlike_a_camera(frame: VideoFrame) -> str:
    """Why frames of this video would not look like a camera's; empty if nothing says so."""
    bits = max((component.bits for component in frame.format.components), default=8)
    if bits >= _DEEPEST:
        return f"{bits} bits a sample, and nothing says what full scale is: convert it to 8 bits"
    curve = _CURVES.get(int(getattr(frame, "color_trc", 0) or 0))
    return f"its brightness is coded for {curve} displays: convert it to an ordinary video (SDR)" if curve else ""


def _pixels(frame: VideoFrame) -> Pixels:
    pixels = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns), dtype=np.uint8)
