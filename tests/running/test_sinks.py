"""What is written: whole, readable without edgec, and gone where it is not whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgec.errors import EdgecError
from edgec.running.features import FeatureFile, FeatureFolder
from edgec.running.film import Film
from edgec.running.painting import Painter
from edgec.running.panels import FramePanel
from edgec.running.pictures import PictureFolder
from edgec.running.sinks import Sink
from edgec.running.types import Done
from tests.support.meaning import HEIGHT, WIDTH

from .conftest import BLUE, GREEN, RED, plain

COLOURS = (RED, GREEN, BLUE)


def done(number: int, name: str = "", at_s: float | None = None, **outputs: NDArray[np.generic]) -> Done:
    at = number / 10 if at_s is None else at_s
    return Done(name or f"walk.mp4#{number:06d}", number, number / 10, at, 1.0, plain(COLOURS[number % 3]), outputs, ())


def outputs(number: int) -> dict[str, NDArray[np.generic]]:
    return {
        "cls": np.full(4, number, np.float32),
        "where": np.full((2, 3), number, np.int32),
        "bright": np.array(number, np.float32),
    }


def painter() -> Painter:
    return Painter([FramePanel()], (), HEIGHT, WIDTH, "a model")


def made(sink: Sink, *frames: Done) -> Sink:
    with sink:
        for frame in frames:
            sink.write(frame)
        written = sink.finish()
    assert written.path == sink.path
    assert written.frames == len(frames)
    return sink


# --- features


def test_features_in_one_file(tmp_path: Path) -> None:
    names = ["a", "Ω" * 70, "b\udcff\n"]
    frames = [done(number, names[number], **outputs(number)) for number in range(3)]
    made(FeatureFile(tmp_path / "out.npz"), *frames)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as actual:
        assert actual["frame"].tolist() == names
        assert actual["number"].tolist() == [0, 1, 2]
        assert actual["time_s"].tolist() == [0.0, 0.1, 0.2]
        assert actual["cls"].tolist() == [[0.0] * 4, [1.0] * 4, [2.0] * 4]
        assert (actual["where"].dtype, actual["where"].shape) == (np.int32, (3, 2, 3))
        assert actual["bright"].tolist() == [0.0, 1.0, 2.0]
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def test_names_longer_than_a_block_of_the_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgec.running.features._BLOCK", 7)
    made(FeatureFile(tmp_path / "out.npz"), *(done(number, "ä" * (number * 5 + 1)) for number in range(9)))
    assert np.load(tmp_path / "out.npz")["frame"].tolist() == ["ä" * (number * 5 + 1) for number in range(9)]


def test_pictures_tell_no_time(tmp_path: Path) -> None:
    frame = Done("a.png", 0, None, 0.0, 1.0, plain(RED), {}, ())
    made(FeatureFile(tmp_path / "out.npz"), frame)
    assert np.isnan(np.load(tmp_path / "out.npz")["time_s"]).all()


def test_features_a_file_a_frame(tmp_path: Path) -> None:
    frames = [done(number, name, **outputs(number)) for number, name in ((7, "a/b c.png"), (11, ".."), (12, "walk.mp4#000012"))]
    made(FeatureFolder(tmp_path / "deep" / "out"), *frames)
    paths = sorted((tmp_path / "deep" / "out").iterdir())
    assert [path.name for path in paths] == ["000007-a-b-c.npz", "000011-frame.npz", "000012-walk-000012.npz"]
    actual = np.load(paths[0], allow_pickle=False)
    assert (str(actual["frame"]), int(actual["number"]), actual["cls"].tolist()) == ("a/b c.png", 7, [7.0] * 4)
    assert actual["where"].dtype == np.int32


# --- films


def decoded(path: Path) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield float(frame.pts * frame.time_base), frame.to_ndarray(format="rgb24")


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov", "out.M4V"])
def test_a_film_at_the_source_s_rate(tmp_path: Path, name: str) -> None:
    av = pytest.importorskip("av")
    drawing = painter()
    made(Film(tmp_path / name, drawing, 10), *map(done, range(9)))
    with av.open(str(tmp_path / name)) as container:
        assert container.streams.video[0].average_rate == 10
        assert container.duration / av.time_base == pytest.approx(0.9, abs=0.001)
    actual = list(decoded(tmp_path / name))
    assert [round(time, 3) for time, _ in actual] == [round(number / 10, 3) for number in range(9)]
    for number, (_, page) in enumerate(actual):
        assert page.shape == (drawing.size[1], drawing.size[0], 3)
        assert np.abs(page[200, 200].astype(int) - COLOURS[number % 3]).max() < 12  # chroma is subsampled and rounded


def test_frames_that_were_dropped_leave_a_gap(tmp_path: Path) -> None:
    made(Film(tmp_path / "out.mp4", painter(), 30), done(0, at_s=0), done(1, at_s=0.5), done(2, at_s=0.5))
    times = [time for time, _ in decoded(tmp_path / "out.mp4")]
    assert times[0] == 0
    assert times[1] == pytest.approx(0.5, abs=1e-3)
    assert times[1] < times[2] < 0.51


def test_a_film_without_frames_is_refused(tmp_path: Path) -> None:
    with Film(tmp_path / "out.mp4", painter(), 30) as film, pytest.raises(EdgecError, match="no frame to draw"):
        film.finish()
    assert list(tmp_path.iterdir()) == []


# --- pictures


def test_pictures_a_frame_each(tmp_path: Path) -> None:
    made(PictureFolder(tmp_path / "drawn", painter()), *map(done, range(3)))
    paths = sorted((tmp_path / "drawn").iterdir())
    assert [path.name for path in paths] == [f"00000{number}-walk-00000{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        with Image.open(path) as picture:
            assert picture.getpixel((200, 200)) == COLOURS[number]


# --- what goes wrong


SINKS = {
    "npz": lambda folder: FeatureFile(folder / "out.npz"),
    "film": lambda folder: Film(folder / "out.mp4", painter(), 30),
    "features": lambda folder: FeatureFolder(folder / "out"),
    "pictures": lambda folder: PictureFolder(folder / "out", painter()),
}


@pytest.mark.parametrize("kind", SINKS)
def test_what_is_not_finished_is_gone_but_whole_files_stay(tmp_path: Path, kind: str) -> None:
    with SINKS[kind](tmp_path) as sink:
        sink.write(done(0, **outputs(0)))
    actual = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
    suffix = {"features": ".npz", "pictures": ".png"}.get(kind)
    assert actual == ([] if suffix is None else ["out", f"out/000000-walk-000000{suffix}"])


@pytest.mark.parametrize("kind", SINKS)
def test_a_full_disk(small_disk: Path, kind: str) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    large = {"cls": random.normal(0, 1, 3_000_000).astype(np.float32)} if kind in ("npz", "features") else {}
    filler = small_disk / "filler"
    filler.write_bytes(bytes((80 << 20) - (30 << 20 if large else 300_000)))

    def fill(sink: Sink) -> None:
        with sink:
            for number in range(400):
                sink.write(Done(f"{number}", number, None, number / 10, 1.0, np.roll(noise, number * 7, 0), large, ()))
            sink.finish()

    with pytest.raises(EdgecError, match=r"The disk is full: .* could not be written"):
        fill(SINKS[kind](small_disk))
    left = [path for path in small_disk.rglob("*") if path != filler and not path.is_dir()]
    assert all(path.parent.name == "out" for path in left)
    for path in left:
        Image.open(path).load() if kind == "pictures" else np.load(path)["cls"]


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EdgecError, match="could not be written"), FeatureFolder(tmp_path / "file" / "x"):
        pytest.fail("went on")


def test_what_a_killed_run_left_is_swept(tmp_path: Path) -> None:
    sink = FeatureFile(tmp_path / "out.npz")
    child = os.fork()
    if child == 0:
        sink.__enter__()
        os._exit(9)
    os.waitpid(child, 0)
    assert list(tmp_path.iterdir()) != []
    made(FeatureFile(tmp_path / "out.npz"), done(0))
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]
