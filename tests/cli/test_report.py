"""`edgec report` and `edgec compare --format html`, on an artefact that was really built."""

from __future__ import annotations

import html
import shutil
from collections.abc import Callable
from pathlib import Path

from edgec.report.html.page import MARK
from edgec.report.html.subjects import NO_ARTEFACT
from tests.support.commands import edgec

Said = Callable[..., tuple[int, str, str]]


def test_artefacts_reports_and_folders_on_one_page(say: Said, artefact: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    shutil.copy(artefact / "report.json", folder / "first.json")
    shutil.copytree(artefact, folder / "inner.edgec")
    code, out, err = say("report", artefact, artefact / "report.json", folder, "-o", tmp_path / "page.html")
    assert (code, out) == (0, ""), err
    assert "4 reports" in err
    page = (tmp_path / "page.html").read_text()
    assert page.startswith(MARK)
    assert page.count('<details class="report"') == 4
    assert page.count("float32</figcaption>") == 12
    assert NO_ARTEFACT in html.unescape(page)
    assert say("report", artefact, "-o", tmp_path / "page.html")[0] == 0
    assert (tmp_path / "page.html").read_text().count('<details class="report"') == 1


def test_without_a_file_it_goes_to_standard_output(artefact: Path) -> None:
    done = edgec("report", artefact, cwd=artefact.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(MARK)
    assert done.stdout.rstrip().endswith("</html>")


def test_damaged_features_are_named_and_the_rest_is_shown(say: Said, artefact: Path, tmp_path: Path) -> None:
    path = artefact / "golden" / "expected_shipped.npz"
    path.write_bytes(path.read_bytes()[:100])
    code, _, err = say("report", artefact, "-o", tmp_path / "page.html")
    assert code == 0, err
    page = (tmp_path / "page.html").read_text()
    assert "features cannot be drawn" in page
    assert "<figcaption>" not in page


def test_what_is_refused(say: Said, artefact: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "half.json").write_text('{"schema_version": 3')
    page = tmp_path / "page.html"
    for given, code, said in (
        (empty, 2, "There is no report in"),
        (tmp_path / "nowhere.json", 8, "There is no report at"),
        (tmp_path / "half.json", 8, "not whole JSON"),
    ):
        result = say("report", artefact, given, "-o", page)
        assert result[0] == code
        assert said in result[2]
        assert not page.exists()
    before = (artefact / "report.json").read_bytes()
    code, _, err = say("report", artefact / "report.json", "-o", artefact / "report.json")
    assert code == 2
    assert "is not replaced" in err
    assert (artefact / "report.json").read_bytes() == before


def test_a_comparison_on_top(say: Said, artefact: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    code, out, err = say("compare", artefact, artefact, "--format", "html", "-o", page, "--fail-on-regression", "5%")
    assert (code, out) == (0, ""), err
    text = page.read_text()
    assert text.index("Compared with the first") < text.index("All candidates of 2 reports")
    assert "Regressions of more than 5 %" in text
    assert "too few runs" in text
    code, _, err = say("compare", artefact, artefact, "-o", tmp_path / "other.md")
    assert code == 2
    assert "--format html" in err


def test_a_sweeps_folder(say: Said, artefact: Path, tmp_path: Path) -> None:
    """As the sweep itself suggests: it holds sweep.json and an artefact a cell."""
    folder = tmp_path / "swept"
    for name in ("one", "two"):
        shutil.copytree(artefact, folder / f"{name}.edgec")
    (folder / "sweep.json").write_text('{"schema_version": 3}')
    code, _, err = say("report", folder, "-o", tmp_path / "page.html")
    assert code == 0, err
    assert "2 reports" in err
    code, out, err = say("compare", folder, "--format", "md")
    assert code == 0, err
    assert "two.edgec" in out
