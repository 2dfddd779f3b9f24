"""Sweeps from the command line: what they leave, what they say, and how they go on."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from edgec.artefact.reading import open_artefact
from edgec.durable import sha256_of, try_lock
from edgec.sweep.child import Outcome
from edgec.sweep.matrix import Cell, read
from edgec.sweep.schema import SweepReport, read_sweep
from edgec.sweep.sweep import sweep
from tests.support.commands import edgec
from tests.sweep.conftest import Sweeping, Swept, write_matrix

NAMES = ["one-board-32x32-fp32", "one-board-32x48-fp32"]


def done(report: SweepReport) -> list[str]:
    return [cell.name for cell in report.cells if cell.state == "done"]


def test_a_failing_cell_stops_no_other(swept: Swept) -> None:
    folder, ended = swept.folder, swept.ended
    report = read_sweep(folder / "matrix.sweep/sweep.json")
    assert done(report) == NAMES
    for cell in report.cells[:2]:
        opened = open_artefact(folder / "matrix.sweep" / str(cell.artefact))
        assert opened.manifest.build_key == cell.build_key
        assert cell.measured_alone
    failed = report.cells[2]
    assert (failed.state, failed.exit_code) == ("failed", 3)
    assert "There is no checkpoint" in failed.error
    assert "There is no checkpoint" in (folder / "matrix.sweep" / failed.log).read_text()
    assert ended.returncode == 3
    assert "There is no checkpoint" in ended.stderr
    assert "exit code 3" in ended.stderr


def test_the_report_answers(swept: Swept) -> None:
    """One frame in a hundred seconds is what every machine keeps up with."""
    folder, ended = swept.folder, swept.ended
    report = read_sweep(folder / "matrix.sweep/sweep.json")
    assert [answer.verdict for answer in report.answers] == ["yes"] * 2 + ["failed"]
    assert [answer.cell.split("-")[2] for answer in report.answers[:2]] == ["32x48", "32x32"]
    for answer in report.answers[:2]:
        assert answer.latency is not None
        assert answer.fidelity is not None
        assert answer.fidelity.worst_cosine >= 0.99
    text = (folder / "matrix.sweep/sweep.md").read_text()
    for said in (ended.stdout, text):
        assert "meets 0.01 Hz within 0.99 fidelity" in said
        assert "2 yes, 1 failed" in said
        assert "one on board, fp32" in said


def test_a_repeated_sweep_does_nothing_but_what_failed(swept: Swept, cache: Path) -> None:
    folder = swept.folder
    manifests = [folder / "matrix.sweep" / f"{name}.edgec" / "manifest.json" for name in NAMES]
    before = [path.stat().st_ino for path in manifests]
    again = edgec("sweep", "matrix.toml", "--json", cwd=folder, cache=cache)
    report = SweepReport.model_validate_json(again.stdout)
    assert again.returncode == 3
    assert [cell.reused for cell in report.cells] == [True] * 2 + [False]
    assert [path.stat().st_ino for path in manifests] == before


def test_artefacts_of_other_inputs_are_replaced_by_force_only(swept: Swept, inputs: Path, cache: Path, tmp_path: Path) -> None:
    name = f"{NAMES[0]}.edgec"
    place = tmp_path / "matrix.sweep"
    shutil.copytree(swept.folder / "matrix.sweep" / name, place / name)
    (place / f"{NAMES[1]}.edgec/mine").mkdir(parents=True)
    before = (place / name / "manifest.json").read_bytes()
    write_matrix(tmp_path / "matrix.toml", inputs, iterations=6)
    refused = edgec("sweep", "matrix.toml", cwd=tmp_path, cache=cache)
    assert refused.returncode == 8
    assert "exists already" in refused.stderr
    assert (place / name / "manifest.json").read_bytes() == before
    forced = edgec("sweep", "matrix.toml", "--force", "--json", cwd=tmp_path, cache=cache)
    report = SweepReport.model_validate_json(forced.stdout)
    assert done(report) == [NAMES[0]]
    assert (place / name / "manifest.json").read_bytes() != before
    assert forced.returncode == 8  # what is no artefact is not replaced even so
    assert (place / f"{NAMES[1]}.edgec/mine").is_dir()


def test_a_folder_that_cannot_be_written_is_refused(inputs: Path, tmp_path: Path) -> None:
    write_matrix(tmp_path / "matrix.toml", inputs)
    (tmp_path / "file").touch()
    ended = edgec("sweep", "matrix.toml", "-o", "file", cwd=tmp_path)
    assert ended.returncode == 8
    assert "cannot be written" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_an_interrupted_sweep_ends_its_cells_and_resumes(
    swept: Swept, inputs: Path, cache: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """The first stages of its cells are cached; what is measured is not."""
    write_matrix(tmp_path / "matrix.toml", inputs, iterations=7 + (number == signal.SIGINT))
    sweeping = Sweeping(tmp_path, cache, "--jobs", "2")
    sweeping.wait_for("resolve")
    assert sweeping.cells()
    os.kill(sweeping.process.pid, number)
    _, said = sweeping.process.communicate(timeout=60)
    assert sweeping.process.returncode == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in said
    sweeping.wait_for_the_end_of_cells()
    for path in tmp_path.glob("matrix.sweep/*.edgec"):
        open_artefact(path)
    again = edgec("sweep", "matrix.toml", "--json", cwd=tmp_path, cache=cache)
    assert again.returncode == 0, again.stderr
    report = SweepReport.model_validate_json(again.stdout)
    assert done(report) == NAMES
    for cell in report.cells:
        assert sha256_of(tmp_path / "matrix.sweep" / str(cell.artefact) / "manifest.json") == cell.artefact_sha256
    assert list(tmp_path.glob("matrix.sweep/.edgec-*")) == []


def test_cells_that_ended_are_reported_before_the_sweep_ends(
    swept: Swept, inputs: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(cache))

    class Impatient:
        def began(self, cell: Cell) -> None: ...

        def stage(self, cell: Cell, title: str) -> None: ...

        def ended(self, cell: Cell, outcome: Outcome) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(read(write_matrix(tmp_path / "matrix.toml", inputs)), tmp_path / "matrix.sweep", Impatient())
    report = read_sweep(tmp_path / "matrix.sweep/sweep.json")
    assert (done(report), report.unfinished) == (NAMES[:1], (NAMES[1],))
    assert [answer.verdict for answer in report.answers] == ["yes"]
    text = (tmp_path / "matrix.sweep/sweep.md").read_text()
    assert "1 yes, 1 not built yet" in text
    assert f"## Not built yet\n\n- {NAMES[1]}" in text
    assert read_sweep(swept.folder / "matrix.sweep/sweep.json").unfinished == ()


def test_two_sweeps_do_not_share_a_folder(swept: Swept, cache: Path) -> None:
    with (swept.folder / "matrix.sweep/logs/.sweep.lock").open("r+b") as lock:
        assert try_lock(lock.fileno())
        ended = edgec("sweep", "matrix.toml", cwd=swept.folder, cache=cache)
    assert ended.returncode == 15
    assert "Another sweep is at work" in ended.stderr
