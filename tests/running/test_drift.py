"""A run says which frames are unlike those that the artefact was calibrated on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgec.artefact.contents import build_manifest_files
from edgec.artefact.drift import drift_path, read_drift
from edgec.artefact.reading import open_artefact
from edgec.errors import ArtefactError
from edgec.running import RunRequest, run
from tests.support.forging import MANIFEST, edit

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
