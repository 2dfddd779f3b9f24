"""Pages as a film, through PyAV: H.264 where its FFmpeg has it, else MPEG-4 Part 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgec import extras
from edgec.errors import EdgecError
from edgec.records.reading import printable
from edgec.report.overlays import Bytes
from edgec.running.painting import Painter
from edgec.running.sinks import FileSink, Written
from edgec.running.types import Done

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import OutputContainer

_CLOCK = 90_000
"""Ticks a second. Frames of a camera do not come at even intervals, and dropped frames leave gaps."""
_CODECS: tuple[tuple[str, dict[str, str]], ...] = (("libx264", {"preset": "veryfast", "crf": "20"}), ("mpeg4", {"qscale": "3"}))


def require_encoder(path: Path) -> None:
    """Raises `MissingPackage` if PyAV is missing, with the line that installs it."""
    extras.require("video", f"Writing the video {printable(str(path))}")


class Film(FileSink):
    """A video file of pages. `rate` is the frames a second that players show; each frame has its own time."""

    def __init__(self, path: Path, painter: Painter, rate: float) -> None:
        super().__init__(path)
        self._painter, self._rate = painter, rate
        self._container: OutputContainer | None = None
        self._stream: Any = None
        self._last = -1

    def write(self, done: Done) -> None:
        """Encodes the pages that can be drawn."""
        for each, page in self._painter.add(done):
            self._encode(each, page)

    def finish(self) -> Written:
        """Encodes the remaining pages. Raises `EdgecError` if there were no frames."""
        for each, page in self._painter.rest():
            self._encode(each, page)
        if self._container is None:
            raise EdgecError(f"{printable(str(self.path))} was not written: there was no frame to draw.")
        with self._failures():
            self._mux(None)
            codec = self._stream.codec_context.codec.name
            self._close()
            return self.publish(f"{codec}, {self._painter.size[0]}x{self._painter.size[1]}")

    def __exit__(self, *error: Any) -> None:
        with suppress(Exception):  # what is not finished is thrown away
            self._close()
        super().__exit__(*error)

    def _encode(self, done: Done, page: Bytes) -> None:
        import av

        with self._failures():
            if self._container is None:
                self._open()
            frame = av.VideoFrame.from_ndarray(page, format="rgb24")
            self._last = max(self._last + 1, round(done.at_s * _CLOCK))
            frame.pts, frame.time_base = self._last, Fraction(1, _CLOCK)
            self._mux(frame)
        self.frames += 1

    def _mux(self, frame: VideoFrame | None) -> None:
        assert self._container is not None
        for packet in self._stream.encode(frame):
            packet.duration = round(_CLOCK / self._rate)  # else the last frame is over at once
            self._container.mux(packet)

    def _open(self) -> None:
        import av

        name, options = next((each for each in _CODECS if each[0] in av.codecs_available), _CODECS[-1])
        self._container = av.open(str(self.unfinished), "w")
        self._stream = self._container.add_stream(name, rate=Fraction(self._rate).limit_denominator(1001), options=options)
        self._stream.width, self._stream.height = self._painter.size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _CLOCK)

    def _close(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            container.close()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        import av

        with self.refusals():
            try:
                yield
            except av.error.FFmpegError as error:
                if isinstance(error, OSError):
                    raise
                reason = printable(str(error.strerror or error))
                raise EdgecError(f"{printable(str(self.path))} could not be encoded.", evidence=reason) from error
