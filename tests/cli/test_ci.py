"""What `compare` and `verify` leave for continuous integration: JUnit's XML, GitHub's annotations, and exit code 22."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.flips import flip
from edgec.report.checks import Check, to_annotations, to_junit
from tests.support.reports import edit, retimed

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def reports(workplace: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Of one thing: before, slower by an eighth, and of too few runs to be judged."""
    paths = [Path(shutil.copy(workplace / "made.edgec" / "report.json", tmp_path / f"{name}.json")) for name in ("a", "b", "c")]
    for path in paths:
        edit(path, lambda document: document.update(files=[]))
    return retimed(paths[0], 20), retimed(paths[1], 22.5, seed=1), retimed(paths[2], 20, count=6, seed=2)


def cases(path: Path) -> dict[str, str]:
    """By name of the test case: what became of it."""
    suite = ElementTree.parse(path).getroot()[0]
    found = {case.attrib["name"]: next(iter(case)).tag for case in suite}
    assert suite.attrib["tests"] == str(len(found))
    assert suite.attrib["failures"] == str(list(found.values()).count("failure"))
    assert suite.attrib["skipped"] == str(list(found.values()).count("skipped"))
    return found


def test_a_regression_is_a_failure(say: Said, reports: tuple[Path, Path, Path], tmp_path: Path) -> None:
    before, after, _ = reports
    junit = tmp_path / "out.xml"
    code, out, err = say("compare", before, after, "--fail-on-regression", "5%", "--junit", junit, "--github", "--format", "json")
    assert code == 17
    assert json.loads(out)
    found = cases(junit)
    assert (found[f"{after}: p50"], found[f"{after}: p99"], found[f"{after}: cls"]) == ("failure", "failure", "system-out")
    assert [line.partition(" ")[0] for line in err.splitlines() if line.startswith("::")] == ["::error", "::error"]
    assert f"::error title=edgec compare%3A {after}%3A p50::{after}: p50 is 12." in err


def test_without_a_gate_nothing_is_a_regression(say: Said, reports: tuple[Path, Path, Path], tmp_path: Path) -> None:
    before, after, _ = reports
    code, _, err = say("compare", before, after, "--junit", tmp_path / "out.xml", "--github", "--fail-on-undecided")
    assert (code, err) == (0, "")
    assert set(cases(tmp_path / "out.xml").values()) == {"system-out"}


def test_what_is_undecided_is_skipped_or_fails(say: Said, reports: tuple[Path, Path, Path], tmp_path: Path) -> None:
    before, _, few = reports
    junit = tmp_path / "out.xml"
    gate = ("compare", before, few, "--fail-on-regression", "5%", "--junit", junit, "--github")
    code, _, err = say(*gate)
    assert code == 0
    assert cases(junit)[f"{few}: p50"] == "skipped"
    assert "::warning title=edgec compare" in err
    code, out, err = say(*gate, "--fail-on-undecided")
    assert code == 22
    assert "not gated: too few runs" in " ".join(err.split())
    assert out
    assert cases(junit)[f"{few}: p50"] == "failure"


def test_what_cannot_be_compared_is_a_failure_too(say: Said, reports: tuple[Path, Path, Path], tmp_path: Path) -> None:
    code, _, err = say("compare", reports[0], tmp_path / "nowhere.json", "--junit", tmp_path / "out.xml", "--github")
    assert code == 8
    assert cases(tmp_path / "out.xml") == {"compare": "failure"}
    assert "::error title=edgec compare%3A compare::There is no report" in err


def test_verify(say: Said, artefact: Path, tmp_path: Path) -> None:
    junit = tmp_path / "out.xml"
    code, out, err = say("verify", artefact, "--junit", junit, "--github", "--fail-on-undecided", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["verified"] is True
    assert cases(junit) == {"hashes": "system-out", "cls": "system-out", "patches": "system-out"}
    flip(artefact / "model" / "model.onnx", 1000, 3)
    code, out, err = say("verify", artefact, "--junit", junit, "--github")
    assert (code, out) == (8, "")
    assert cases(junit) == {"verify": "failure"}
    assert err.splitlines()[0].startswith("::error title=edgec verify%3A verify::")


def test_a_place_that_cannot_be_written(say: Said, artefact: Path, tmp_path: Path) -> None:
    code, _, err = say("verify", artefact, "--junit", tmp_path / "nowhere" / "out.xml")
    assert code == 1
    assert "could not be written" in err


def test_names_cannot_break_either(tmp_path: Path) -> None:
    odd = [Check("a\x1b[31m\n::error::x, y: z", "failed", '<&"\x00 \ud800 100%\nsecond'), Check("fine", "passed", "")]
    (tmp_path / "out.xml").write_bytes(to_junit("compare", odd))
    assert list(cases(tmp_path / "out.xml").values()) == ["failure", "system-out"]
    (line,) = to_annotations("compare", odd)
    assert len(line.splitlines()) == 1
    assert line.count("::") == 2 + line.partition("title=")[2].partition("::")[2].count("::")
    assert "100%25" in line
