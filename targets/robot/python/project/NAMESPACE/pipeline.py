"""Frames from a GStreamer pipeline (a camera, a file, a stream) through the model. An example to begin with.

It needs GStreamer with its Python bindings (`gi`); nothing else here does."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .contract import GOLDEN, TITLE
from .errors import Error, ExitCode
from .files import artefact_folder
from .fit import fit
from .frame import Pixels, view
from .model import Model
from .run_frames import said, unlike

SINK = "videoconvert ! video/x-raw,format=RGB ! appsink name=frames sync=false max-buffers={buffers} drop={drop}"
_PATIENCE_S = 10.0


def frames(pipeline: str, *, every: bool = False, patience: float = _PATIENCE_S) -> Iterator[Pixels]:
    """uint8 [H, W, 3] in RGB, of what `pipeline` gives, in the language of gst-launch-1.0 and without a sink. While one is used,
    the newest one waits, and those before it are dropped; with `every` none is. A frame is a view of GStreamer's memory, valid
    until the next one. Raises `Error` if GStreamer is missing, in its words if the pipeline fails, and if nothing comes for
    `patience` seconds."""
    gst, video = _gstreamer()
    text = f"{pipeline} ! {SINK.format(buffers=4 if every else 1, drop=str(not every).lower())}"
    try:
        running = gst.parse_launch(text)
    except Exception as error:  # GLib's own, which is no class to import
        raise _failed(text, str(error)) from error
    sink, bus = running.get_by_name("frames"), running.get_bus()
    if running.set_state(gst.State.PLAYING) == gst.StateChangeReturn.FAILURE:
        message = bus.timed_pop_filtered(gst.SECOND, gst.MessageType.ERROR)
        running.set_state(gst.State.NULL)
        raise _failed(text, _words(message))
    try:
        while True:
            sample = sink.emit("try-pull-sample", int(patience * gst.SECOND))
            if sample is None:
                message = bus.pop_filtered(gst.MessageType.ERROR)
                if message is None and sink.get_property("eos"):
                    return
                raise _failed(text, _words(message) if message else f"no frame for {patience:g} seconds")
            buffer, info = sample.get_buffer(), video.VideoInfo.new_from_caps(sample.get_caps())
            placed = video.buffer_get_video_meta(buffer)
            stride = (placed or info).stride[0]
            taken, mapped = buffer.map(gst.MapFlags.READ)
            if not taken:
                raise _failed(text, "a frame cannot be read")
            try:
                yield view(mapped.data, info.height, info.width, stride=stride)
            finally:
                buffer.unmap(mapped)
    finally:
        running.set_state(gst.State.NULL)


def main(arguments: Sequence[str] | None = None) -> int:
    """An exit code."""
    try:
        return _run(_parser().parse_args(arguments))
    except Error as error:
        print(f"run_pipeline: {error}", file=sys.stderr)
        return int(error.code)


def _parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(
        prog="run_pipeline",
        description="Runs what a GStreamer pipeline gives, written as for gst-launch-1.0 and without a sink: 'v4l2src', "
        "'filesrc location=drive.mp4 ! decodebin', 'nvarguscamerasrc ! nvvidconv'.",
    )
    words.add_argument("pipeline", help="in one argument")
    words.add_argument("--artefact", type=Path, default=artefact_folder(), help="the folder with the model and the golden frames")
    crops = ("centre", "resize", "pad")
    words.add_argument("--crop", choices=crops, default=crops[0], help="how another size is brought to the model's")
    words.add_argument("--threads", type=int, default=0, help="by default as many as this process may use")
    words.add_argument("--frames", type=int, default=0, help="end after so many")
    words.add_argument("--every", action="store_true", help="drop no frame: for files, not for cameras")
    return words


def _run(options: argparse.Namespace) -> int:
    model = Model(options.artefact, threads=options.threads)
    print(f"ready: {TITLE}, {GOLDEN.count} golden frames as recorded", flush=True)
    count = 0
    for frame in frames(options.pipeline, every=options.every):
        started = time.perf_counter()
        outputs = model.run(fit(frame, options.crop))
        milliseconds = 1000 * (time.perf_counter() - started)
        print(f"frame {count}: {milliseconds:.2f} ms{said(outputs, 0)}{unlike(model.drift(outputs))}", flush=True)
        count += 1
        if count == options.frames:
            break
    if not count:
        raise Error(ExitCode.FRAMES, "There is no frame.", options.pipeline)
    return 0


def _gstreamer() -> tuple[Any, Any]:
    """Gst and GstVideo."""
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstVideo", "1.0")
        from gi.repository import Gst, GstVideo
    except (ImportError, ValueError) as error:
        raise Error(
            ExitCode.FRAMES, "GStreamer is missing from this Python.", str(error),
            "install it: python3-gst-1.0, gir1.2-gst-plugins-base-1.0 and gstreamer1.0-plugins-base of Debian and Ubuntu",
        ) from error  # fmt: skip
    Gst.init(None)
    return Gst, GstVideo


def _words(message: Any) -> str:
    if message is None:
        return "GStreamer gives no reason"
    error, details = message.parse_error()
    return " ".join([error.message, *(details or "").splitlines()[-1:]])


def _failed(pipeline: str, why: str) -> Error:
    return Error(ExitCode.FRAMES, "The pipeline gives no frames.", f"{why}: {pipeline}", "try it with gst-launch-1.0 first")
