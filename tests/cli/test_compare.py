"""`edgec compare` and `edgec schema`, on reports that were really measured."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgec.benchmarking import as_report, bench
from edgec.onboard.figures import milliseconds
from edgec.records.consistency import read_report
from edgec.records.report import SCHEMA_VERSION
from tests.support.commands import edgec, python
from tests.support.forging import written
from tests.support.reports import edit, retimed

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def measured(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two measurements of one artefact: `before.json` and `after.json`."""
    folder = tmp_path_factory.mktemp("measured")
    for name in ("before", "after"):
        report = as_report(bench(workplace / "made.edgec", iterations=40))
        (folder / f"{name}.json").write_text(report.to_json())
    return folder


@pytest.fixture
def reports(measured: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(measured, tmp_path / "reports"))


def test_real_measurements_side_by_side(say: Said, reports: Path) -> None:
    code, out, err = say("compare", reports / "before.json", reports / "after.json")
    assert code == 0, err
    for title in (
        "model",
        "target",
        "host",
        "shape",
        "batch",
        "precision",
        "runtime",
        "threads",
        "power mode",
        "worst 1 % of patches",
    ):
        assert re.search(rf"^{title} ", out, re.MULTILINE), title
    measured = read_report(reports / "after.json").candidates[0].latency
    assert measured is not None
    line = next(line for line in out.splitlines() if line.startswith("p50 ms "))
    assert line.endswith(milliseconds(measured.p50_ms))
    assert "too few runs" in " ".join(out.split())


def test_an_artefact_against_what_was_measured_of_it(say: Said, artefact: Path, reports: Path) -> None:
    """A build and `bench` say the same of this machine: that it is the target, if the profile asks for no more."""
    edit(reports / "after.json", lambda document: document["candidates"][0]["latency"].update(evidence="measured on target"))
    code, out, err = say("compare", artefact, reports / "after.json", "--format", "json")
    assert code == 0, err
    document = json.loads(out)
    assert [side["evidence"] for side in document["sides"]] == ["measured on target", "measured on target"]
    assert "too few runs to compare p50: 5 of 6 needed" in document["comparisons"][0]["latency"]["p50"]["why_not"]
    assert document["comparisons"][0]["fidelity"] == dict.fromkeys(document["comparisons"][0]["fidelity"], 0.0)


def test_another_candidate_of_the_build(say: Said, artefact: Path) -> None:
    names = [candidate.name for candidate in read_report(artefact / "report.json").candidates]
    code, out, err = say("compare", artefact, artefact, "--candidate", names[0], "--candidate", names[1], "--format", "json")
    assert code == 0, err
    assert [side["candidate"] for side in json.loads(out)["sides"]] == names[:2]
    code, _, err = say("compare", artefact, artefact, "--candidate", "int4")
    assert code == 2
    assert names[0] in err


def test_more_than_two_are_rows_against_the_first(say: Said, reports: Path) -> None:
    for seed in range(50):
        shutil.copy(reports / "before.json", reports / f"{seed}.json")
        retimed(reports / f"{seed}.json", 20 + seed, seed=seed)
    code, out, err = say("compare", *(reports / f"{seed}.json" for seed in range(50)), "--format", "json")
    assert code == 0, err
    document = json.loads(out)
    assert [each["second"] for each in document["comparisons"]] == [str(reports / f"{seed}.json") for seed in range(1, 50)]
    assert {each["first"] for each in document["comparisons"]} == {str(reports / "0.json")}
    assert all(each["latency"]["p50"]["verdict"] == "slower" for each in document["comparisons"][4:])
    code, out, _ = say("compare", *(reports / f"{seed}.json" for seed in range(6)))
    assert code == 0
    assert out.count("slower") > 2


def test_what_is_not_comparable_is_refused_or_shown_with_a_warning(say: Said, reports: Path) -> None:
    other = edit(reports / "after.json", lambda document: document["candidates"][0]["latency"].update(power_mode="15W\x1b[2J"))
    code, out, err = say("compare", reports / "before.json", other)
    assert (code, out) == (2, "")
    assert "they differ in power mode" in err
    assert f"power mode: - in {reports / 'before.json'}, 15W\ufffd[2J in {other}" in err
    assert "--anyway" in err
    code, out, err = say("compare", reports / "before.json", other, "--anyway")
    assert code == 0
    assert "p50" in out
    assert "Warning: Not comparable: power mode is - in" in err


@pytest.mark.parametrize("style", ["text", "md", "json"])
def test_a_regression_ends_with_its_own_code_after_it_was_shown(say: Said, reports: Path, style: str) -> None:
    before, after = retimed(reports / "before.json", 20), retimed(reports / "after.json", 22.5)
    code, out, err = say("compare", before, after, "--fail-on-regression", "5%", "--format", style)
    assert code == 17
    assert "slower" in out
    assert "There is a regression of more than 5 %." in err
    assert "p50 is 12." in err
    assert say("compare", before, after, "--fail-on-regression", "20", "--format", style)[0] == 0
    assert say("compare", after, before, "--fail-on-regression", "5%", "--format", style)[0] == 0


def test_a_regression_of_fidelity_alone(say: Said, reports: Path) -> None:
    shutil.copy(reports / "before.json", reports / "after.json")

    def worse(document: dict[str, Any]) -> None:
        document["candidates"][0]["fidelity"]["patch_cosine_p01"] -= 0.002

    after = edit(reports / "after.json", worse)
    code, _, err = say("compare", reports / "before.json", after, "--fail-on-regression", "5%")
    assert code == 17
    assert "worst 1 % of patches fell from" in err


@pytest.mark.parametrize("given", ["five", "-5%", "0", "nan", "5%%", "inf"])
def test_percentages(say: Said, reports: Path, given: str) -> None:
    code, out, err = say("compare", reports / "before.json", reports / "after.json", "--fail-on-regression", given)
    assert (code, out) == (2, "")
    assert "is not a percentage" in err


def test_one_report_cannot_be_compared(say: Said, reports: Path) -> None:
    code, _, err = say("compare", reports / "before.json")
    assert code == 2
    assert "One report cannot be compared" in err
    assert say("compare", *[reports / "before.json"] * 3, "--candidate", "a", "--candidate", "b")[0] == 2


def broken(reports: Path) -> dict[str, tuple[Path, str]]:
    """Bad reports, and what is said of each."""

    def made(name: str, change: Callable[[str], str]) -> Path:
        path = reports / name
        path.write_text(change((reports / "before.json").read_text()))
        return path

    whole = json.loads((reports / "before.json").read_text())
    latency = whole["candidates"][0]["latency"]
    huge = reports / "huge.json"
    shutil.copy(reports / "before.json", huge)
    with huge.open("r+b") as file:
        file.truncate(500 << 20)

    def with_latency(**changes: Any) -> Callable[[str], str]:
        def change(text: str) -> str:
            document = json.loads(text)
            document["candidates"][0]["latency"].update(changes)
            return written(document)

        return change

    slower = [sample * 2 for sample in latency["samples_ms"]]
    return {
        "truncated": (made("truncated.json", lambda text: text[:1000]), "is not whole JSON"),
        "future": (
            made("future.json", lambda text: text.replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 99')),
            "update edgec",
        ),
        "nan": (made("nan.json", with_latency(p50_ms=float("nan"))), "NaN is not JSON"),
        "negative": (made("negative.json", with_latency(min_ms=-1.0)), "latency.min_ms"),
        "nothing": (
            made("zero.json", with_latency(min_ms=0.0, samples_ms=[0.0, *latency["samples_ms"][1:]])),
            "every run takes some",
        ),
        "samples": (made("samples.json", with_latency(samples_ms=slower)), "contradicts itself"),
        "median": (
            made("median.json", with_latency(p50_ms=latency["max_ms"], p90_ms=latency["max_ms"])),
            "p50_ms of the samples is",
        ),
        "blocks": (made("blocks.json", with_latency(blocks=[{"round": 0, "runs": 7}])), "blocks of 7 runs in all, 40 iterations"),
        "huge": (huge, "too large"),
        "missing": (reports / "nowhere.json", "There is no report at"),
        "markdown": (made("report.md", lambda text: "# A report"), "is not whole JSON"),
    }


def test_bad_reports_get_one_clear_error_each(say: Said, reports: Path) -> None:
    for name, (path, said) in broken(reports).items():
        code, out, err = say("compare", reports / "before.json", path)
        assert code == 8, (name, err)
        assert out == ""
        assert said in " ".join(err.split()), (name, err)
        assert err.startswith("edgec: ")
        assert str(path) in err
        assert "Traceback" not in err


def test_as_a_user_runs_it(reports: Path) -> None:
    retimed(reports / "before.json", 20)
    retimed(reports / "after.json", 30)
    done = edgec("compare", "before.json", "after.json", "--fail-on-regression=5%", cwd=reports)
    assert done.returncode == 17
    assert "slower" in done.stdout
    assert done.stderr.startswith("edgec: There is a regression")
    assert edgec("compare", "before.json", "before.json", "--format", "md", cwd=reports).returncode == 0


def test_comparing_imports_no_runtime(reports: Path) -> None:
    code = (
        "import sys; from edgec.cli import run; assert run(['compare', 'before.json', 'after.json']) == 0;"
        "print({'torch', 'onnx', 'openvino', 'onnxruntime', 'matplotlib'} & set(sys.modules))"
    )
    done = python(code, cwd=reports)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"


def test_schemas_are_printed(say: Said) -> None:
    from edgec.records.report import json_schema
    from edgec.sweep.schema import json_schema as of_sweeps

    for arguments, expected in (((), json_schema()), (("report",), json_schema()), (("sweep",), of_sweeps())):
        code, out, err = say("schema", *arguments)
        assert (code, err) == (0, "")
        assert json.loads(out) == expected
    assert say("schema", "robot")[0] == 2
