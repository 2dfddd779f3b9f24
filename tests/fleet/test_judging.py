"""What counts as worse than the bundle says, and what cannot be compared."""

from __future__ import annotations

from typing import Any

import pytest

from edgec.fleet.judging import judge
from edgec.records.evidence import Evidence
from edgec.records.fidelity import StageFidelity
from edgec.records.report import CandidateFigures, Host, Latency, ModelFacts, Report
from tests.support.reports import samples

HOST = Host(
    cpu="Jetson Orin Nano", architecture="aarch64", physical_cores=6, logical_cores=6, usable_cores=6, memory_bytes=8_000_000_000,
    os="Ubuntu", python="3.10.12", versions={"tensorrt": "10.3.0"},
)  # fmt: skip


def report(ms: float = 20.0, seed: int = 0, *, cosine: float = 0.999, **changes: Any) -> Report:
    evidence = changes.pop("evidence", Evidence.TARGET)
    latency = Latency.of(samples(seed, ms=ms), warmup=10, threads=1, evidence=evidence, power_mode=changes.pop("mode", "15W"))
    fidelity = StageFidelity(
        stage="int8", cls_cosine_mean=cosine, patch_cosine_mean=cosine, patch_cosine_p01=cosine, frames=8, evidence=evidence
    )
    candidate = CandidateFigures(
        name="int8", runtime="tensorrt", precision="int8", fidelity=fidelity, latency=latency, chosen=True
    )
    facts = {
        "edgec_version": "0.1.0", "created": "2026-11-30T00:00:00Z", "target": "jetson", "host_is_target": True,
        "model": ModelFacts(name="m", arch="vits16", checkpoint_sha256="0" * 64, random_weights=True, gflops=1, parameters=1),
        "input_shape": (1, 64, 96, 3), "precision_asked": "auto", "min_fidelity": 0.99, "calibration": "none",
        "validation_frames": 8, "candidates": (candidate,), "chosen": "int8", "reason": "", "host": HOST,
    }  # fmt: skip
    return Report(**{**facts, **changes})


def test_as_fast_as_it_says() -> None:
    judgement = judge(report(), report(seed=1))
    assert judgement.regressions == judgement.left_out == ()
    assert [words[:6] for words in judgement.compared] == ["fideli", "p50 is", "p99 is"]


def test_slower() -> None:
    judgement = judge(report(), report(26.0, seed=1))
    assert [words[:8] for words in judgement.regressions] == ["p50 is 1", "p99 is 1"]
    assert judge(report(), report(26.0, seed=1), 40).regressions == ()
    assert judge(report(), report(21.0, seed=1)).regressions == (), "boards of one kind differ"


def test_below_the_budget() -> None:
    judgement = judge(report(), report(seed=1, cosine=0.98))
    assert judgement.regressions == ("fidelity is below the budget: fidelity 0.98000 (at least 0.99)",)
    # The bundle's own budget counts, whatever the board believes that it is.
    assert judge(report(), report(seed=1, cosine=0.98, min_fidelity=0.9)).regressions == judgement.regressions


@pytest.mark.parametrize(
    ("shipped", "words"),
    [
        (None, "the bundle has no measured latency of int8"),
        (report(mode="25W"), "the bundle's figures differ in power mode (25W; here 15W)"),
        (report(host=HOST.model_copy(update={"cpu": "a workstation"})), "differ in host (a workstation"),
        (report(evidence=Evidence.HOST), "differ in evidence (measured on host; here measured on target)"),
        (report(evidence=Evidence.SIMULATED), "differ in kind of evidence (simulated on host; here measured)"),
    ],
    ids=["none", "mode", "host", "evidence", "kind"],
)
def test_what_cannot_be_compared(shipped: Report | None, words: str) -> None:
    judgement = judge(shipped, report(40.0, seed=1))
    assert judgement.regressions == ()
    (left_out,) = judgement.left_out
    assert words in left_out


def test_times_under_emulation() -> None:
    emulated = report(evidence=Evidence.EMULATED)
    assert judge(emulated, report(40.0, evidence=Evidence.EMULATED)).left_out == (
        "latency is not compared: under emulation times say nothing",
    )
