"""A run says which frames are unlike those that the artefact was calibrated on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgec.artefact.contents import build_manifest_files
from edgec.artefact.drift import drift_path, read_drift
from edgec.artefact.reading import open_artefact
from edgec.errors import ArtefactError, EdgecError
from edgec.onboard.ring import Bounds
from edgec.running import RunRequest, run
from tests.support.forging import MANIFEST, edit
from tests.support.meaning import HEIGHT, WIDTH

from .conftest import GREEN, Told, plain, reddish, save


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    for seed in range(3):
        save(tmp_path / "frames" / f"{seed}.png", reddish(100 + seed))
    save(tmp_path / "frames" / "3.png", plain(GREEN))
    return tmp_path / "frames"


def test_frames_unlike_the_calibration_frames_are_counted(knowing: Path, frames: Path, tmp_path: Path) -> None:
    told = Told()
    summary = run(RunRequest(knowing, str(frames), features=tmp_path / "out.npz"), told)
    drifts = [done.drift for done in told.frames]
    assert all(drift is not None and drift < 1 for drift in drifts[:3])
    assert drifts[3] is not None
    assert drifts[3] > 2
    assert summary.drift is not None
    assert (summary.drift.frames, summary.drift.beyond, summary.drift.largest_frame) == (4, 1, "3.png")
    with np.load(tmp_path / "out.npz") as file:
        assert file["drift"].tolist() == drifts


def test_frames_that_alarm_are_kept_if_asked_for(knowing: Path, frames: Path, tmp_path: Path) -> None:
    """The camera's frame, which fitting would give another size."""
    large = plain(GREEN, 2 * HEIGHT, 2 * WIDTH)
    for number in range(4, 7):
        save(frames / f"{number}.png", large)
    ring, told = tmp_path / "ring", Told()
    summary = run(RunRequest(knowing, str(frames), drift_frames=ring, drift_bounds=Bounds(2)), told)
    assert summary.kept is not None
    assert (summary.kept.frames, summary.kept.failed, told.notes) == (4, 0, [])
    lines = [json.loads(path.read_text()) for path in sorted(ring.glob("*.json"))]
    assert [line["source"] for line in lines] == ["5.png", "6.png"]
    by_name = {done.name: done.drift for done in told.frames}
    assert [line["score"] for line in lines] == [by_name[line["source"]] for line in lines]
    assert {line["build_key"] for line in lines} == {open_artefact(knowing).manifest.build_key}
    for line in lines:
        with Image.open(ring / line["file"]) as picture:
            assert np.array_equal(np.array(picture), large)
    run(RunRequest(knowing, str(frames)), Told())
    assert {path.name for path in tmp_path.iterdir()} == {"frames", "ring"}


def test_a_folder_that_cannot_keep_frames_is_refused_before_the_run(knowing: Path, whole: Path, frames: Path) -> None:
    for artefact, folder, error in (
        (whole, frames.parent / "ring", "cannot tell which frames"),
        (knowing, frames / "0.png", "cannot keep frames"),
        (knowing, knowing / "ring", "inside the artefact"),
    ):
        with pytest.raises(EdgecError, match=error):
            run(RunRequest(artefact, str(frames), drift_frames=folder), Told())


def test_a_run_goes_on_where_frames_cannot_be_kept(knowing: Path, frames: Path, tmp_path: Path) -> None:
    told = Told()
    summary = run(RunRequest(knowing, str(frames), drift_frames=tmp_path / "ring", drift_bounds=Bounds(9, 1e-5)), told)
    assert (summary.frames, summary.kept and summary.kept.failed) == (4, 1)
    assert ["more than the folder may hold" in note for note in told.notes] == [True]


def test_an_artefact_that_records_nothing_cannot_tell(whole: Path, frames: Path, tmp_path: Path) -> None:
    told = Told()
    summary = run(RunRequest(whole, str(frames), features=tmp_path / "out"), told)
    assert summary.drift is None
    assert {done.drift for done in told.frames} == {None}
    with np.load(next((tmp_path / "out").iterdir())) as file:
        assert np.isnan(file["drift"])


@pytest.mark.parametrize("problem", ["of another width", "not finite", "not an archive"])
def test_a_file_that_does_not_fit_the_artefact_is_refused(knowing: Path, tmp_path: Path, problem: str) -> None:
    folder = shutil.copytree(knowing, tmp_path / "forged.edgec")
    path = folder / drift_path()
    with np.load(path) as file:
        arrays = dict(file)
    if problem == "of another width":
        arrays["mean"] = arrays["mean"][:-1]
    else:
        arrays["mean"][0] = np.nan
    np.savez(path, **arrays)
    if problem == "not an archive":
        path.write_bytes(b"nothing")
    edit(folder / MANIFEST, lambda manifest: manifest.update(files=[each.model_dump() for each in build_manifest_files(folder)]))
    artefact = open_artefact(folder)
    with pytest.raises(ArtefactError, match=r"The drift file drift\.npz in .* does not fit the manifest"):
        read_drift(artefact, artefact.sizes[0].facts)
