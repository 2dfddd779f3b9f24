from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgec import __version__
from edgec.errors import ArtefactError
from edgec.records.consistency import read_report
from edgec.records.reading import LIMIT_BYTES, printable
from edgec.records.report import SCHEMA_VERSION, Report
from tests.support.forging import written


@pytest.fixture
def path(tmp_path: Path, report: Report) -> Path:
    path = tmp_path / "report.json"
    path.write_text(report.to_json())
    return path


def refused(path: Path, pattern: str) -> ArtefactError:
    with pytest.raises(ArtefactError, match=pattern) as caught:
        read_report(path)
    return caught.value


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    result = json.loads(path.read_text())
    change(result)
    path.write_text(written(result))


def test_a_report_is_read_back(path: Path, report: Report) -> None:
    assert read_report(path) == report


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_report(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    refused(path, "not whole JSON")


@pytest.mark.parametrize("data", [b"# report", b"\x80\x81", b"[1, 2]", b'"report"', b"{" * 50_000, b'{"a":' * 50_000])
def test_a_report_of_something_else(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    refused(path, "not whole JSON")


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_inf_are_not_json(path: Path, literal: str) -> None:
    path.write_text(path.read_text().replace("25.25", literal))
    error = refused(path, "not whole JSON")
    assert f"it is not whole JSON: {literal} is not JSON" in error.evidence


@pytest.mark.parametrize("number", [str(10**400), str(2**63), "1e309"])
def test_a_number_that_no_type_holds(path: Path, number: str) -> None:
    path.write_text(path.read_text().replace('"p50_ms": 25.25', f'"p50_ms": {number}'))
    refused(path, "not whole JSON")


def test_a_report_that_is_too_large_is_not_read(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(LIMIT_BYTES + 1)
    refused(path, "too large")


def test_no_report(tmp_path: Path) -> None:
    refused(tmp_path / "report.json", "There is no report")
    refused(tmp_path, "not a regular file")
    refused(tmp_path / ("x" * 5000), "cannot be read")
    refused(tmp_path / "a\0b", "cannot be read")


def test_a_report_of_a_later_edgec(path: Path) -> None:
    edit(path, lambda result: result.update(schema_version=99, edgec_version="9.9\x1b[2J"))
    error = refused(path, r"written by edgec 9\.9.*; this is edgec")
    assert "\x1b" not in str(error)


LATENCY = ("candidates", 1, "latency")


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ((*LATENCY, "p50_ms"), -1.0, "candidates.1.latency.p50_ms"),
        ((*LATENCY, "p50_ms"), "25", "candidates.1.latency.p50_ms"),
        ((*LATENCY, "p50_ms"), None, "candidates.1.latency.p50_ms"),
        ((*LATENCY, "iterations"), 0, "candidates.1.latency.iterations"),
        ((*LATENCY, "iterations"), 2.5, "candidates.1.latency.iterations"),
        ((*LATENCY, "threads"), True, "candidates.1.latency.threads"),
        ((*LATENCY, "evidence"), "guessed", "candidates.1.latency.evidence"),
        ((*LATENCY, "p95_ms"), 1.0, "candidates.1.latency.p95_ms"),
        (("candidates", 1, "fidelity", "patch_cosine_p01"), 1.5, "candidates.1.fidelity.patch_cosine_p01"),
        (("candidates", 1, "size_bytes"), -5, "candidates.1.size_bytes"),
        (("candidates",), {}, "candidates"),
        (("host", "usable_cores"), 0, "host.usable_cores"),
        (("input_shape",), [224, 224], "input_shape.2"),
        (("host_is_target",), "yes", "host_is_target"),
        (("model",), None, "model"),
        (("\x1b[2J",), 1, "\ufffd[2J"),
    ],
)
def test_a_field_that_is_wrong_is_named(path: Path, place: tuple[Any, ...], value: object, named: str) -> None:
    def change(result: Any) -> None:
        for step in place[:-1]:
            result = result[step]
        result[place[-1]] = value

    edit(path, change)
    error = refused(path, "does not say what a report must")
    assert any(line.startswith(f"{named}: ") for line in error.evidence), error.evidence


@pytest.mark.parametrize(
    ("change", "evidence"),
    [
        (lambda result: result["candidates"][0]["latency"].update(p90_ms=1.0), "openvino fp32: p50_ms 62 is above p90_ms 1"),
        (
            lambda result: result["candidates"][0]["latency"].update(mean_ms=900.0),
            "openvino fp32: mean_ms 900 is above max_ms 65",
        ),
        (lambda result: result["candidates"][0]["latency"].update(iterations=4), "openvino fp32: 3 samples of 4 iterations"),
        (
            lambda result: result["candidates"][0]["latency"].update(samples_ms=[1, 2, 3]),
            "openvino fp32: samples go from 1 to 3 ms",
        ),
        (lambda result: result.update(chosen="openvino fp64"), "chosen is 'openvino fp64', but the candidates so marked are"),
        (
            lambda result: result["candidates"][0].update(chosen=True),
            "chosen is 'openvino int8', but the candidates so marked are",
        ),
        (lambda result: result["candidates"][0].update(name="openvino int8"), "two candidates have one name"),
        (lambda result: result.update(input_shape=[1, 0, 224, 3]), "input_shape is (1, 0, 224, 3)"),
    ],
)
def test_a_report_that_contradicts_itself(path: Path, change: Callable[[dict[str, Any]], object], evidence: str) -> None:
    edit(path, change)
    error = refused(path, "contradicts itself")
    assert error.evidence[0].startswith(evidence)


def test_many_problems_are_not_all_listed(path: Path) -> None:
    edit(path, lambda result: result.update({f"field{index}": 1 for index in range(1000)}))
    error = refused(path, "does not say what a report must")
    assert len(error.evidence) == 9
    assert error.evidence[-1] == "and 992 more"


def test_a_flipped_bit_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    chance = random.Random(0)
    for _ in range(500):
        position = chance.randrange(len(whole))
        path.write_bytes(whole[:position] + bytes([whole[position] ^ (1 << chance.randrange(8))]) + whole[position + 1 :])
        with pytest.raises(ArtefactError):
            read_report(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n ", "\n  ", 1),
        lambda text: text + "\n",
        lambda text: json.dumps(json.loads(text)),
        lambda text: text.replace('"chosen": true', '"chosen":  true'),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
    ],
    ids=["indented", "a line more", "in one line", "a space", "a byte order mark", "line ends"],
)
def test_a_report_that_says_the_same_in_other_bytes_is_not_as_it_was_written(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text()
    path.write_bytes(change(before).encode())
    assert path.read_bytes() != before.encode()
    error = refused(path, "not as it was written: its seal does not fit")
    assert "have edgec write it again" in error.remedy


def test_a_seal_cannot_be_left_out_or_taken_back_to_an_older_version(path: Path) -> None:
    document = json.loads(path.read_text())
    without = {name: value for name, value in document.items() if name != "seal"}
    path.write_text(json.dumps(without, indent=1))
    assert "its seal is missing" in refused(path, "its seal does not fit").evidence
    path.write_text(json.dumps({**document, "schema_version": 4}, indent=1))
    refused(path, "its seal does not fit")
    path.write_text(json.dumps({**without, "schema_version": 4}, indent=1))
    assert read_report(path).schema_version == SCHEMA_VERSION


def test_printable_is_one_line_that_steers_no_terminal() -> None:
    assert printable("a\n b\t\x1b[31m\x00\u202e é…") == "a b \ufffd[31m\ufffd\ufffd é…"


def camera_run() -> dict[str, Any]:
    """Three frames of a 10 Hz camera, the second of which is late."""

    def of(*values: float) -> dict[str, Any]:
        low, middle, high = sorted(values)
        named = {"min_ms": low, "p50_ms": middle, "p90_ms": high, "p99_ms": high, "max_ms": high}
        return {"count": 3, **named, "mean_ms": round(sum(values) / 3, 4)}

    return {
        "mode": "camera",
        "fps": 10.0,
        "streams": 1,
        "threads": 1,
        "queue": "latest",
        "seconds": 0.35,
        "arrived": 4,
        "dropped": 1,
        "deadline_ms": 100.0,
        "missed": 2,
        "latency": of(20, 120, 50),
        "wait": of(0, 0, 20),
        "service": of(20, 120, 30),
        "interval": {"count": 2, "min_ms": 130, "p50_ms": 130, "p90_ms": 200, "p99_ms": 200, "max_ms": 200, "mean_ms": 165},
        "jitter_ms": 35.0,
        "throughput_fps": 3 / 0.35,
        "arrived_ms": [0, 100, 300],
        "started_ms": [0, 100, 320],
        "done_ms": [20, 220, 350],
        "stream": [0, 0, 0],
        "evidence": "measured on host",
    }


@pytest.mark.parametrize(
    ("change", "evidence"),
    [
        ({}, None),
        ({"arrived_ms": [], "started_ms": [], "done_ms": [], "stream": []}, None),
        ({"dropped": 2, "missed": 2}, "runs[0]: latency is of 3 frames; 4 arrived and 2 were dropped"),
        ({"missed": 3}, "runs[0]: missed is 3; by the columns it is 2"),
        ({"missed": 0}, "runs[0]: 0 missed, of 4 that arrived and 1 that were dropped"),
        ({"fps": None}, "runs[0]: fps is None, mode camera"),
        ({"throughput_fps": 30.0}, "runs[0]: throughput is 30 frames a second"),
        ({"jitter_ms": 1.0}, "runs[0]: seconds or jitter_ms is not"),
        ({"done_ms": [20, 220, 340]}, "runs[0]: latency is not what the columns say"),
        ({"done_ms": [20, 350, 220]}, "runs[0]: done_ms goes backwards"),
        ({"started_ms": [0, 90, 320]}, "runs[0]: a frame was started before it arrived"),
        ({"stream": [0, 0, 1]}, "runs[0]: frames of streams 0 to 1, but there are 1 streams"),
        ({"stream": [0, 0]}, "runs[0]: columns of [2, 3] rows"),
        (
            {"drift": {"first_p50_ms": 1, "last_p50_ms": 2, "ratio": 2, "ratio_low": 3, "ratio_high": 4}},
            "runs[0]: drift 2 is outside of its interval",
        ),
        ({"readings": [{"at_ms": 2000}, {"at_ms": 1000}]}, "runs[0]: readings out of order"),
    ],
)
def test_a_run_that_contradicts_itself(path: Path, change: dict[str, Any], evidence: str | None) -> None:
    edit(path, lambda result: result["candidates"][1].update(runs=[{**camera_run(), **change}]))
    if evidence is None:
        assert read_report(path).candidates[1].runs[0].missed == 2
        return
    error = refused(path, "contradicts itself")
    assert any(line.startswith(f"openvino int8: {evidence}") for line in error.evidence), error.evidence


# --- heads


def chosen_tasks(result: dict[str, Any]) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = next(each for each in result["candidates"] if each["chosen"])["fidelity"]["tasks"]
    return tasks


def test_a_report_with_heads_is_read(tmp_path: Path, headed: Report, bare: Report) -> None:
    for number, report in enumerate((headed, bare)):
        path = tmp_path / f"{number}.json"
        path.write_text(report.to_json())
        assert read_report(path) == report


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda result: result.update(heads=result["heads"][1:]), "kind is judged, but no head of the report"),
        (lambda result: result["heads"].append(result["heads"][0]), "two heads are called 'kind'"),
        (lambda result: result["heads"][0].update(outputs=["floor"]), "two outputs of heads are called 'floor'"),
        (lambda result: chosen_tasks(result)[0].update(classes=None), "kind gives scores, and what is judged of it is nothing"),
        (
            lambda result: chosen_tasks(result)[0].update(depths={"relative_error": 0, "rmse": 0}),
            "judged of it is classes, depths",
        ),
        (lambda result: chosen_tasks(result)[0].update(output="depth"), "kind gives depth, and what is judged of it is classes"),
        (lambda result: chosen_tasks(result).append(chosen_tasks(result)[0]), "kind is judged twice"),
        (lambda result: chosen_tasks(result)[0]["classes"].update(smallest_margin=9), "smallest margin is above the mean"),
        (lambda result: chosen_tasks(result)[1]["masks"].update(iou=[0.9, 1.1, None]), "IoU by class is not from 0 to 1"),
        (lambda result: chosen_tasks(result)[1]["masks"].update(iou=[None]), "IoU by class is not from 0 to 1"),
        (lambda result: chosen_tasks(result)[1]["masks"].update(mean_iou=0.5), "its mean IoU is 0.980000 by class, not 0.500000"),
        (lambda result: chosen_tasks(result)[3]["values"].update(cosine_min=1.0), "smallest cosine is above the mean"),
        (lambda result: result["stages"][0].update(cls_cosine_mean=None), "hub graph: 2 of three cosines"),
        (
            lambda result: result["stages"][0].update(
                cls_cosine_mean=None, patch_cosine_mean=None, patch_cosine_p01=None, tasks=[]
            ),
            "hub graph: fidelity without a figure",
        ),
    ],
)
def test_contradictions_about_heads_are_refused(
    tmp_path: Path, headed: Report, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    path = tmp_path / "report.json"
    path.write_text(headed.to_json())
    edit(path, change)
    assert said in " ".join(refused(path, "contradicts itself").evidence)


def test_processes_count_from_0(path: Path) -> None:
    def blocks(*processes: int) -> Callable[[dict[str, Any]], object]:
        return lambda result: result["candidates"][1]["latency"].update(
            blocks=[{"round": 0, "runs": 1, "process": process} for process in processes]
        )

    edit(path, blocks(0, 1, 0))
    assert read_report(path).candidates[1].latency is not None
    edit(path, blocks(0, 2, 2))
    assert "blocks of processes 0, 2" in refused(path, "contradicts itself").evidence[0]


def test_a_report_of_a_later_state_of_this_version(path: Path) -> None:
    """Two states of one version lie between releases."""
    edit(path, lambda result: result.update(schema_version=99, edgec_version=__version__))
    refused(path, "written by a later state of edgec")
