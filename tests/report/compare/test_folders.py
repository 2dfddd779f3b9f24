"""Which files of a folder are reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgec.errors import RequestError
from edgec.records.report import SWEEP
from edgec.report.compare.opening import REPORT, report_files, with_cells


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_other_files_that_edgec_writes_are_no_reports(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in (SWEEP, "robot.orin.details.json", "robot.orin.report.json", "notes.txt")))
    assert report_files(tmp_path) == [tmp_path / "robot.orin.report.json"]


def test_a_sweeps_folder_stands_for_its_artefacts(tmp_path: Path) -> None:
    cells = [tmp_path / "swept" / f"{name}.edgec" for name in "ab"]
    touch(tmp_path / "swept" / SWEEP, tmp_path / "swept" / "logs" / "a.log", *(cell / REPORT for cell in cells))
    assert report_files(tmp_path / "swept", artefacts=True) == [cell / REPORT for cell in cells]
    other = tmp_path / "other.json"
    assert with_cells([other, tmp_path / "swept"]) == [other, *cells]
    assert with_cells([other]) == [other]


def test_a_sweep_that_has_built_nothing(tmp_path: Path) -> None:
    touch(tmp_path / SWEEP)
    with pytest.raises(RequestError, match="has built nothing yet"):
        with_cells([tmp_path])
    with pytest.raises(RequestError, match="There is no report in"):
        report_files(tmp_path, artefacts=True)
