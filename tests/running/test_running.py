"""A whole run: what heads find is what the frames show."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgec.artefact.contents import build_manifest_files
from edgec.errors import ArtefactError, CalibrationError, EdgecError, RequestError, TargetError, VerificationError
from edgec.model.spec import Size
from edgec.records.evidence import Evidence
from edgec.running import RunRequest, run
from edgec.running.results import ClassShares, DepthRange, TopClass, ValueRange
from tests.support.forging import written
from tests.support.meaning import CLASSES

from .conftest import BLUE, GREEN, RED, Told, film, halves, plain, save


def test_heads_find_what_the_frames_show(whole: Path, folder: Path) -> None:
    told = Told()
    summary = run(RunRequest(whole, str(folder)), told)
    assert told.names == ["frame 2.png", "frame 10.png", "frame 11.png"]
    assert [done.number for done in told.frames] == [0, 2, 3]
    assert [name for name, _ in told.left_out] == ["frame 9.png"]
    assert "not a picture" in told.left_out[0][1]
    assert (summary.frames, summary.skipped, summary.dropped, summary.ended, told.total) == (3, 1, 0, "source", 4)
    red, _, both = (done.results for done in told.frames)
    scores = np.array(RED) / 25.5
    share = math.exp(scores[0]) / sum(math.exp(score) for score in scores)
    assert isinstance(red[0], TopClass)
    assert (red[0].name, red[0].index) == ("red", 0)
    assert red[0].share == pytest.approx(share)
    assert red[0].margin == pytest.approx(scores[0] - scores[2], rel=1e-5)
    assert both[1] == ClassShares("where", {"red": 0.5, "green": 0.0, "blue": 0.5})
    assert isinstance(both[2], DepthRange)
    assert (both[2].low, both[2].high, both[2].finite) == (pytest.approx(280 / 3), pytest.approx(285 / 3), 1.0)
    assert isinstance(both[3], ValueRange)
    assert both[3].shape == (2, 3, 3)


def test_the_run_is_summed_up(whole: Path, folder: Path) -> None:
    summary = run(RunRequest(whole, str(folder), threads=1), Told())
    actual = summary.tally.to_json()
    assert actual["colour"] == {"top_class_frames": {"green": 1, "red": 2}}
    assert actual["where"]["mean_shares"] == {"red": 0.5, "green": pytest.approx(1 / 3), "blue": pytest.approx(1 / 6)}
    assert actual["bright"] == {
        "min": pytest.approx(275 / 3),
        "median_of_medians": pytest.approx(280 / 3),
        "max": pytest.approx(95),
    }
    assert summary.threads == 1
    assert summary.evidence in (Evidence.HOST, Evidence.TARGET)
    assert 0 < summary.model.p50_ms <= summary.latency.max_ms


def test_a_batch_that_is_not_full_is_filled(pairs: Path, folder: Path) -> None:
    told = Told()
    summary = run(RunRequest(pairs, str(folder)), told)
    assert [done.results[0].name for done in told.frames if isinstance(done.results[0], TopClass)] == ["red", "green", "red"]
    assert (summary.frames, summary.batch) == (3, 2)
    assert all(done.outputs["patches"].shape == (2, 3, 8) for done in told.frames)


@pytest.mark.parametrize(("every", "limit", "expected"), [(2, None, [0, 2, 4]), (1, 2, [0, 1]), (3, 1, [0]), (1, 99, range(6))])
def test_some_frames_of_a_video(whole: Path, tmp_path: Path, every: int, limit: int | None, expected: Any) -> None:
    path = film(tmp_path / "walk.mp4", [plain(RED), plain(GREEN), plain(BLUE)] * 2)
    told = Told()
    summary = run(RunRequest(whole, str(path), every=every, limit=limit), told)
    assert told.names == [f"walk.mp4#{number:06d}" for number in expected]
    assert [done.time_s for done in told.frames] == [number / 10 for number in expected]
    assert [done.results[0].name for done in told.frames] == [CLASSES[number % 3] for number in expected]  # type: ignore[union-attr]
    assert summary.ended == ("limit" if limit in (1, 2) else "source")
    assert told.total == len(expected)


def test_frames_are_fitted_as_calibration_does_it(whole: Path, tmp_path: Path) -> None:
    picture = plain(RED, 64, 64)
    picture[:16], picture[-16:] = GREEN, BLUE
    path = save(tmp_path / "tall.png", picture)
    shares = {}
    for crop in ("centre", "resize", "pad"):
        told = Told()
        run(RunRequest(whole, str(path), crop=crop), told)  # type: ignore[arg-type]
        result = told.frames[0].results[1]
        assert isinstance(result, ClassShares)
        shares[crop] = dict(result.shares)
        assert told.frames[0].frame.shape == (32, 48, 3)
    assert shares["resize"] == pytest.approx({"red": 0.5, "green": 0.25, "blue": 0.25}, abs=0.04)
    assert shares["centre"]["red"] > 0.7
    black = plain((0, 0, 0), 1, 1)[0, 0]
    assert (told.frames[0].frame[:, 0] == black).all()


def test_a_file_on_a_camera_s_clock(whole: Path, tmp_path: Path) -> None:
    """All of them where the model keeps up; what is dropped and what is done are all there was."""
    path = film(tmp_path / "walk.mp4", [plain(RED)] * 8)
    told = Told()
    summary = run(RunRequest(whole, str(path), fps=200), told)
    assert summary.live
    assert summary.frames + summary.dropped == 8
    assert told.names == sorted(told.names)
    assert [done.at_s for done in told.frames] == [
        pytest.approx((done.number - told.frames[0].number) / 200) for done in told.frames
    ]


def test_on_a_request_to_stop_it_finishes_what_it_wrote(whole: Path, tmp_path: Path) -> None:
    path = film(tmp_path / "walk.mp4", [plain(RED)] * 8)
    told = Told()
    request = RunRequest(whole, str(path), features=tmp_path / "out.npz")
    summary = run(request, told, lambda: len(told.frames) >= 3)
    assert (summary.ended, summary.frames) == ("stopped", 3)
    assert [written.frames for written in summary.written] == [3]
    assert np.load(tmp_path / "out.npz")["number"].tolist() == [0, 1, 2]


def test_stopped_before_its_first_frame(whole: Path, folder: Path, tmp_path: Path) -> None:
    summary = run(RunRequest(whole, str(folder), features=tmp_path / "out.npz"), Told(), lambda: True)
    assert (summary.ended, summary.frames, summary.written) == ("stopped", 0, ())
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


def test_a_source_without_usable_frames(whole: Path, folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("frame 1?.png"):
        path.unlink()
    (folder / "frame 2.png").write_bytes(b"")
    with pytest.raises(CalibrationError, match="has no usable frame") as caught:
        run(RunRequest(whole, str(folder), output=tmp_path / "drawn"), Told())
    assert caught.value.exit_code == 4
    assert [line.split(":")[0] for line in caught.value.evidence] == ["frame 2.png", "frame 9.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


class Copy:
    """An artefact that somebody edited."""

    def __init__(self, whole: Path, path: Path) -> None:
        self.path = Path(shutil.copytree(whole, path))

    def edit(self, **fields: Any) -> None:
        manifest = json.loads((self.path / "manifest.json").read_text())
        manifest |= fields
        manifest["files"] = [file.model_dump() for file in build_manifest_files(self.path)]
        (self.path / "manifest.json").write_text(written(manifest))


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Copy:
    return Copy(whole, tmp_path / "copy.edgec")


@pytest.mark.parametrize(("runtime", "remedy"), [("tensorrt", "edgec deploy"), ("coreml", "Mac")])
def test_what_runs_elsewhere_is_refused(copy: Copy, folder: Path, runtime: str, remedy: str) -> None:
    copy.edit(runtime=runtime, target="elsewhere")
    with pytest.raises(TargetError, match="for elsewhere: it does not run on this machine") as caught:
        run(RunRequest(copy.path, str(folder)), Told())
    assert remedy in caught.value.remedy


def test_a_manifest_of_outputs_that_the_model_does_not_give(copy: Copy, folder: Path) -> None:
    manifest = json.loads((copy.path / "manifest.json").read_text())
    copy.edit(heads=[{**manifest["heads"][0], "outputs": ["other"]}])
    with pytest.raises(ArtefactError, match="contradicts itself"):
        run(RunRequest(copy.path, str(folder)), Told())


def test_a_model_that_gives_something_else(headless: Path, copy: Copy, folder: Path) -> None:
    shutil.copy(headless / "runtime" / "model.onnx", copy.path / "runtime" / "model.onnx")
    copy.edit()
    with pytest.raises(VerificationError, match="does not compute what its manifest says") as caught:
        run(RunRequest(copy.path, str(folder)), Told())
    assert "where [1, 32, 48]" in caught.value.evidence[0]


def test_a_damaged_artefact_is_not_run(copy: Copy, folder: Path) -> None:
    (copy.path / "runtime" / "model.onnx").write_bytes(b"")
    with pytest.raises(ArtefactError, match="1 changed"):
        run(RunRequest(copy.path, str(folder)), Told())


def test_a_size_that_it_does_not_take(whole: Path, folder: Path) -> None:
    with pytest.raises(RequestError, match="no frames of 64x64") as caught:
        run(RunRequest(whole, str(folder), Size(64, 64)), Told())
    assert "it takes 32x48" in caught.value.evidence[0]
    assert run(RunRequest(whole, str(folder), Size(32, 48)), Told()).frames == 3


@pytest.mark.parametrize("fps", [0.0, -1.0, math.nan, math.inf, 1e9])
def test_invalid_rates(whole: Path, folder: Path, fps: float) -> None:
    with pytest.raises(RequestError, match="makes no sense"):
        run(RunRequest(whole, str(folder), fps=fps), Told())


def test_nothing_is_overwritten_unless_asked(whole: Path, folder: Path, tmp_path: Path) -> None:
    features, drawn = tmp_path / "out.npz", tmp_path / "drawn"
    features.write_bytes(b"mine")
    with pytest.raises(EdgecError, match="exists already") as caught:
        run(RunRequest(whole, str(folder), features=features), Told())
    assert "--force" in caught.value.remedy
    drawn.mkdir()
    (drawn / "mine.txt").write_text("mine")
    with pytest.raises(EdgecError, match="is not empty"):
        run(RunRequest(whole, str(folder), output=drawn), Told())
    assert features.read_bytes() == b"mine"
    run(RunRequest(whole, str(folder), features=features, output=drawn, force=True), Told())
    assert np.load(features)["frame"].tolist() == ["frame 2.png", "frame 10.png", "frame 11.png"]
    assert (drawn / "mine.txt").read_text() == "mine"
    assert len(list(drawn.iterdir())) == 4


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("one.edgec/x.npz", "inside the artefact"),
        ("frames", "the source itself"),
        ("none/x.npz", "there is no folder"),
        ("file/x", "is not a folder"),
        ("file", "is not a folder"),
        ("frames.npz", "is a folder"),
    ],
)
def test_paths_that_are_refused(whole: Path, folder: Path, tmp_path: Path, where: str, said: str) -> None:
    artefact = shutil.copytree(whole, tmp_path / "one.edgec")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "frames.npz").mkdir()
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(EdgecError, match=said):
        run(RunRequest(artefact, str(folder), features=tmp_path / where, force=True), Told())
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_features_and_pictures_in_one_place(whole: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="same path"):
        run(RunRequest(whole, str(folder), features=tmp_path / "x", output=tmp_path / "frames" / ".." / "x"), Told())


def test_what_was_done_before_an_error_is_kept(whole: Path, tmp_path: Path) -> None:
    """One output fails, here because its folder is gone; the other is finished."""
    path = film(tmp_path / "walk.mp4", [plain(RED)] * 6)
    drawn = tmp_path / "drawn"

    class Vandal(Told):
        def done(self, done: Any) -> None:
            super().done(done)
            if len(self.frames) == 3:
                shutil.rmtree(drawn)

    told = Vandal()
    with pytest.raises(EdgecError, match="could not be written"):
        run(RunRequest(whole, str(path), features=tmp_path / "out.npz", output=drawn, show=("where",)), told)
    assert [(written.path.name, written.frames) for written in told.finished] == [("out.npz", 4)]
    assert len(np.load(tmp_path / "out.npz")["frame"]) == 4


def test_two_halves_have_two_classes(whole: Path, tmp_path: Path) -> None:
    told = Told()
    run(RunRequest(whole, str(save(tmp_path / "x.png", halves(GREEN, BLUE)))), told)
    assert (told.frames[0].outputs["where"] == np.repeat([[1] * 24 + [2] * 24], 32, axis=0)).all()
    assert told.frames[0].outputs["where"].dtype == np.int32
