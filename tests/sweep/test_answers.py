"""What reports say about a camera of 30 Hz: yes only where it was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgec.durable import sha256_of
from edgec.errors import ArtefactError
from edgec.records.consistency import read_report
from edgec.records.evidence import Evidence
from edgec.records.fidelity import StageFidelity
from edgec.records.report import Bound, CandidateFigures, ColdStart, Host, Latency, ModelFacts, Report
from edgec.sweep import rendering
from edgec.sweep.answers import answer_all
from edgec.sweep.schema import Answer, Cell, SweepReport, read_sweep

HOST = Host(
    cpu="a", architecture="x86_64", physical_cores=2, logical_cores=2, usable_cores=2, memory_bytes=1, os="Linux", python="3"
)


def latency(p50: float, p99: float, **more: Any) -> Latency:
    times = {"min_ms": p50, "p50_ms": p50, "p90_ms": p99, "p99_ms": p99, "max_ms": p99, "mean_ms": p50}
    return Latency(**times, iterations=100, warmup=1, threads=2, **{"evidence": Evidence.HOST, **more})


def fidelity_of(cosine: float, evidence: Evidence = Evidence.HOST) -> StageFidelity:
    return StageFidelity(stage="x", cls_cosine_mean=1, patch_cosine_mean=1, patch_cosine_p01=cosine, frames=8, evidence=evidence)


def bounds(*times: float) -> tuple[Bound, ...]:
    return tuple(Bound(board=f"board{at}", power_mode="MAXN", bound_ms=ms, limited_by="compute") for at, ms in enumerate(times))


def place(folder: Path, *candidates: CandidateFigures, name: str = "cell", size: int = 32, **more: Any) -> Cell:
    """An artefact's report, and a manifest to hash; the first candidate is chosen."""
    artefact = folder / f"{name}.edgec"
    artefact.mkdir()
    (artefact / "manifest.json").write_text(name)
    report = Report(
        edgec_version="0",
        created="now",
        artefact_sha256=sha256_of(artefact / "manifest.json"),
        model=ModelFacts(
            name="m", arch="a", checkpoint_sha256="", random_weights=more.pop("random", False), gflops=1, parameters=1
        ),
        target="cpu",
        host_is_target=more.pop("host_is_target", True),
        input_shape=(1, size, size, 3),
        precision_asked="auto",
        min_fidelity=0.99,
        calibration="c",
        validation_frames=8,
        candidates=tuple(each.model_copy(update={"chosen": at == 0}) for at, each in enumerate(candidates)),
        chosen=candidates[0].name,
        reason="r",
        host=HOST,
    )
    (artefact / "report.json").write_text(report.to_json())
    return Cell(
        name=name, checkpoint="m", target="cpu", size=(size, size), precision="auto", state="done", exit_code=0,
        log="l", artefact=artefact.name, seconds=1,
    )  # fmt: skip


def candidate(name: str = "a", **figures: Any) -> CandidateFigures:
    return CandidateFigures(name=name, runtime="r", precision="fp32", **figures)


def answers(folder: Path, *cells: Cell) -> tuple[Answer, ...]:
    return answer_all(folder, cells, 30, 0.99)


@pytest.mark.parametrize(
    ("figures", "more", "verdict", "why"),
    [
        ({"latency": latency(10, 33)}, {}, "yes", "p99 33.00 ms (measured on host)"),
        ({"latency": latency(10, 34)}, {}, "no", "p99 34.00 ms (measured on host); the median alone would do"),
        ({"latency": latency(34, 35)}, {}, "no", "p99 35.00 ms (measured on host)"),
        ({"latency": latency(10, 12)}, {"host_is_target": False}, "cannot tell", "lacks what the target has"),
        ({"latency": latency(10, 12)}, {"random": True}, "cannot tell", "random weights"),
        ({"latency": latency(10, 12), "fidelity": None}, {}, "cannot tell", "no fidelity is known"),
        ({"latency": latency(10, 12), "fidelity": fidelity_of(0.98)}, {}, "no", "fidelity 0.98000 (measured on host)"),
        ({"bounds": bounds(4)}, {}, "cannot tell", "at least 4 ms (estimated), not measured"),
        ({"bounds": bounds(40)}, {}, "no", "at least 40 ms (estimated)"),
        ({}, {}, "cannot tell", "no latency is known"),
    ],
)
def test_answers_name_their_evidence(
    tmp_path: Path, figures: dict[str, Any], more: dict[str, Any], verdict: str, why: str
) -> None:
    (answer,) = answers(tmp_path, place(tmp_path, candidate(**{"fidelity": fidelity_of(0.995), **figures}), **more))
    assert answer.verdict == verdict
    assert why in answer.why


def test_each_board_has_an_answer_by_its_smallest_bound_within_the_budget(tmp_path: Path) -> None:
    first = candidate("int8", fidelity=fidelity_of(0.995), bounds=bounds(4, 50))
    lossy = candidate("w4", fidelity=fidelity_of(0.5), bounds=bounds(1, 1))
    answer = answers(tmp_path, place(tmp_path, first, lossy))
    assert [(each.board, each.verdict, each.candidate) for each in answer] == [
        ("board0", "cannot tell", "int8"),
        ("board1", "no", "int8"),
    ]


def test_a_boards_report_counts_if_it_is_of_this_artefact(tmp_path: Path) -> None:
    cell = place(tmp_path, candidate(fidelity=fidelity_of(0.995), bounds=bounds(4)))
    built = read_report(tmp_path / "cell.edgec/report.json")
    measured = candidate(fidelity=fidelity_of(0.995), latency=latency(8, 9, evidence=Evidence.TARGET), chosen=True)
    sent = built.model_copy(update={"candidates": (measured,)})
    (tmp_path / "cell.orin.report.json").write_text(sent.to_json())
    stale = sent.model_copy(update={"artefact_sha256": "0" * 64})
    (tmp_path / "cell.old.report.json").write_text(stale.to_json())
    answer = answers(tmp_path, cell)
    assert [(each.board, each.verdict) for each in answer] == [("orin", "yes"), ("board0", "cannot tell")]
    assert "measured on target" in answer[0].why


def test_a_machine_that_did_other_work_makes_an_answer_doubtful(tmp_path: Path) -> None:
    """It can only have made the figures too high: what was fast enough is, what was not may be."""
    fast, slow = (candidate(fidelity=fidelity_of(1), latency=latency(1, p99, other_cores=1.5)) for p99 in (2, 40))
    answer = answers(tmp_path, place(tmp_path, fast, name="fast"), place(tmp_path, slow, name="slow"))
    assert [(each.cell, each.verdict) for each in answer] == [("fast", "yes"), ("slow", "cannot tell")]
    assert all("other work used up to 1.5" in each.doubts[0] for each in answer)


def sweep_of(folder: Path, *cells: Cell) -> SweepReport:
    return SweepReport(edgec_version="0", created="now", fps=30, min_fidelity=0.99, cells=cells, answers=answers(folder, *cells))


def test_answers_are_sorted_and_sizes_make_a_ladder(tmp_path: Path) -> None:
    cold = ColdStart(load_ms=1, first_inference_ms=1, peak_rss_bytes=250_000_000, evidence=Evidence.HOST)
    cells = [
        place(
            tmp_path,
            candidate(fidelity=fidelity_of(0.995), latency=latency(time, time), cold_start=cold),
            name=f"c{size}",
            size=size,
        )
        for size, time in ((64, 10), (96, 20), (128, 40))
    ]
    failed = cells[0].model_copy(update={"name": "f", "state": "failed", "artefact": None, "exit_code": 7, "error": "no <b>|"})
    report = sweep_of(tmp_path, *cells, failed)
    assert [(each.cell, each.verdict) for each in report.answers] == [
        ("c96", "yes"),
        ("c64", "yes"),
        ("c128", "no"),
        ("f", "failed"),
    ]
    (ladder,) = rendering.ladders(report)
    assert [row[0] for row in ladder.rows] == ["64x64", "96x96", "128x128"]
    assert ladder.rows[0][2:5] == ("0.99500", "10.00", "10.00")
    assert ladder.rows[0][6] == "250"
    text = rendering.to_markdown(report)
    assert "| 128x128 | a | 0.99500 | 40.00 |" in text
    assert "<b>" not in text
    assert rendering.failures(report) == ["f: no <b>| (exit code 7; log: l)"]


def test_a_sweeps_report_is_read_back_and_others_are_refused(tmp_path: Path) -> None:
    report = sweep_of(tmp_path, place(tmp_path, candidate(fidelity=fidelity_of(0.995), latency=latency(1, 2))))
    path = tmp_path / "sweep.json"
    path.write_text(report.to_json())
    assert read_sweep(path) == report
    path.write_text(report.to_json().replace('"fps": 30.0', '"fps": NaN'))
    with pytest.raises(ArtefactError, match="not whole JSON"):
        read_sweep(path)
    path.write_text(report.to_json().replace('"schema_version": 3', '"schema_version": 9'))
    with pytest.raises(ArtefactError, match="cannot read it"):
        read_sweep(path)
    second = report.model_dump_json().replace('"schema_version":3', '"schema_version":2')
    for older in (second, second.replace('"schema_version":2', '"schema_version":1').replace('"unfinished":[],', "")):
        path.write_text(older)
        assert read_sweep(path) == report


def test_a_flipped_bit_of_a_sweeps_report_is_noticed(tmp_path: Path) -> None:
    """Of every byte one, and the seal as a whole."""
    report = sweep_of(tmp_path, place(tmp_path, candidate(fidelity=fidelity_of(0.995), latency=latency(1, 2))))
    path, written = tmp_path / "sweep.json", report.to_json().encode()
    for position in range(len(written)):
        damaged = bytearray(written)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(ArtefactError):
            read_sweep(path)
    path.write_text(report.model_dump_json())
    with pytest.raises(ArtefactError, match="its seal is missing"):
        read_sweep(path)


def test_a_damaged_report_gives_no_answer(tmp_path: Path) -> None:
    cell = place(tmp_path, candidate(fidelity=fidelity_of(1), latency=latency(1, 2)))
    (tmp_path / "cell.edgec/report.json").write_text("{")
    (answer,) = answers(tmp_path, cell)
    assert answer.verdict == "cannot tell"
