"""Frames from GStreamer: a real pipeline with a source of test pictures, where GStreamer and its Python bindings are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgec.code.generating import CodeRequest, generate
from tests.support.meaning import HEIGHT, WIDTH, write_meaning

DEBIAN = Path("/usr/lib/python3/dist-packages/gi")
"""Debian's bindings, which other Pythons of the same version can import."""
PROBE = "import gi; gi.require_version('GstVideo', '1.0'); from gi.repository import Gst, GstVideo; Gst.init(None); "
PROBE += "assert Gst.ElementFactory.find('videotestsrc') and Gst.ElementFactory.find('appsink')"
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(CodeRequest(write_meaning(tmp_path_factory.mktemp("pipeline") / "robot.edgec"), "python")).directory


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Call:
    """A Python that has GStreamer, in the project's folder."""
    folder = tmp_path_factory.mktemp("bindings")
    if DEBIAN.is_dir():
        (folder / "gi").symlink_to(DEBIAN)

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        command = [sys.executable, *words]
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=60)

    if call("-c", PROBE).returncode:
        pytest.skip("no GStreamer with bindings for this Python here")
    return call


def test_what_a_pipeline_gives_reaches_the_model(python: Call) -> None:
    """Of another width, so that rows have gaps (RGB rows are padded to four bytes), and of another format."""
    for pattern, size, said in (
        ("red", f"width={WIDTH},height={HEIGHT}", "red"),
        ("green", f"format=NV12,width={WIDTH + 14},height={HEIGHT + 8}", "green"),
        ("blue", "format=RGB,width=51,height=33", "blue"),
    ):
        pipeline = f"videotestsrc num-buffers=3 pattern={pattern} ! video/x-raw,{size}"
        done = python("run_pipeline.py", "--every", pipeline)
        assert done.returncode == 0, done.stderr
        ready, *lines = done.stdout.splitlines()
        assert ready.startswith("ready: ")
        assert [f"colour: {said}, where: 100 % {said}" in line for line in lines] == [True] * 3, done.stdout


def test_a_camera_goes_on_until_it_is_told_to_stop(python: Call) -> None:
    done = python("run_pipeline.py", "--frames", "2", "videotestsrc is-live=true")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3), done.stderr


def test_a_pipeline_that_fails_is_refused_in_gstreamers_words(python: Call) -> None:
    for pipeline, said in (
        ("nosuchsrc", "nosuchsrc"),
        ("filesrc location=/none ! decodebin", "No such file"),
        ("videotestsrc num-buffers=0", "There is no frame"),
    ):
        done = python("run_pipeline.py", pipeline)
        assert (done.returncode, said in done.stderr) == (4, True), (pipeline, done.stderr)


def test_without_gstreamer_the_program_says_what_to_install(project: Path) -> None:
    words = [sys.executable, "-c", "import sys; sys.modules['gi'] = None; from robot.pipeline import main; sys.exit(main(['x']))"]
    done = subprocess.run(words, cwd=project, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "python3-gst-1.0" in done.stderr) == (4, True), done.stderr
