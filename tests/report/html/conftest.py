from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgec.onboard.statistics import summary
from edgec.records.evidence import Evidence
from edgec.records.fidelity import HeadFacts, Output
from edgec.records.report import (
    AfterIdle,
    Block,
    CandidateFigures,
    Fallen,
    OperationTime,
    Placement,
    Profile,
    Report,
    Run,
    Spread,
)
from edgec.report.html.page import render
from edgec.report.html.subjects import Subject
from edgec.report.maps import Headed, headed
from edgec.report.pictures import Compared
from tests.support.pages import browser
from tests.support.reports import samples

Written = Callable[..., Path]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture
def write(tmp_path: Path) -> Written:
    """The page of these subjects, as a file."""

    def write(*subjects: Subject, **options: Any) -> Path:
        path = tmp_path / "page.html"
        path.write_text(render(subjects, **options), encoding="utf-8")
        return path

    return write


def spread(values: list[float]) -> Spread:
    result = asdict(summary(values))
    return Spread(count=len(values), **{name: result[name] for name in Spread.model_fields if name != "count"})


def timed(candidate: CandidateFigures, taken: list[float]) -> CandidateFigures:
    assert candidate.latency is not None
    figures = {**asdict(summary(taken)), "samples_ms": tuple(taken), "iterations": len(taken)}
    blocks = tuple(Block(round=turn, runs=len(taken) // 4) for turn in range(4))
    return candidate.model_copy(update={"latency": candidate.latency.model_copy(update={**figures, "blocks": blocks})})


@pytest.fixture
def full(report: Report) -> Report:
    """With everything that schema 3 has: 400 samples in four blocks and an outlier, a camera's run, a profile, a placement."""
    taken = [*samples(count=399, ms=25.0), 61.0]
    arrived = [float(frame * 33.3) for frame in range(60)]
    service = samples(3, count=60, ms=25.0)
    service[40] = 48.0
    run = Run(
        mode="camera", fps=30, streams=1, threads=2, queue="latest", seconds=2.0, arrived=61, dropped=1,
        deadline_ms=33.3, missed=2,
        latency=spread(service), wait=spread([0.01] * 60), service=spread(service), jitter_ms=1.25, throughput_fps=30.0,
        arrived_ms=tuple(arrived), started_ms=tuple(arrived), stream=(0,) * 60,
        done_ms=tuple(a + s for a, s in zip(arrived, service, strict=True)), evidence=Evidence.HOST,
    )  # fmt: skip
    steps = [
        OperationTime(name=f"{kind}{block}", kind=kind, block=block, mean_ms=ms, gflops=0.5, roofline_share=0.4)
        for block in range(3)
        for kind, ms in (("product", 2.5), ("attention", 1.25), ("norm", 0.25))
    ]
    profile = Profile(
        source="OpenVINO's profiling", iterations=20, whole_ms=13.5, plain_ms=12.0, rates_gflops={"int8": 900.0},
        steps=(*steps, OperationTime(name="patches", kind="product", mean_ms=0.5)), evidence=Evidence.HOST,
    )  # fmt: skip
    placement = Placement(
        source="MLComputePlan", asked="CPU_AND_NE", by_device={"neural engine": 90, "CPU": 1},
        fallen=(Fallen(operation="softmax_3", kind="attention", device="CPU"),), evidence=Evidence.ESTIMATED,
    )  # fmt: skip
    more = {
        "runs": (run,),
        "profile": profile,
        "placement": placement,
        "after_idle": AfterIdle(idle_s=5, samples_ms=(44.0, 45.5, 43.0), evidence=Evidence.HOST),
    }
    candidates = tuple(
        timed(each, taken if each.chosen else samples(7, count=200, ms=42.0)).model_copy(update=more if each.chosen else {})
        if each.latency
        else each
        for each in report.candidates
    )
    return report.model_copy(update={"candidates": candidates})


@pytest.fixture
def pictures() -> Compared:
    """Six frames, and features that differ a little."""
    random = np.random.default_rng(0)
    float32 = random.normal(size=(6, 5, 8, 16)).astype(np.float32)
    shipped = float32 + random.normal(0, 0.02, float32.shape).astype(np.float32)
    frames = random.integers(0, 256, (6, 80, 128, 3), dtype=np.uint8)
    return Compared(tuple(f"golden frame {number}" for number in range(6)), frames, float32, shipped)


@pytest.fixture
def seen() -> Headed:
    """What the heads of `headed` make of two frames of 80 x 128: a mask with a pixel that differs, a depth map, classes."""
    random = np.random.default_rng(1)
    labels = np.zeros((2, 80, 128), np.int32)
    labels[:, 40:] = 1
    other = labels.copy()
    other[0, 3, 4] = 2
    depth = random.uniform(1, 9, (2, 80, 128)).astype(np.float32)
    scores = np.array([[2.0, 1.0], [0.5, 0.25]], np.float32)

    def facts(name: str, output: Output, classes: tuple[str, ...] = ()) -> HeadFacts:
        return HeadFacts(name=name, kind="onnx", output=output, outputs=(name,), classes=classes, reads=("cls",), sha256="0" * 64)

    frames = random.integers(0, 256, (2, 80, 128, 3), dtype=np.uint8)
    heads = (
        facts("floor", "labels", ("floor", "wall", "<i>thing")),
        facts("far", "depth"),
        facts("kind", "scores", ("cat", "dog")),
    )
    return headed(
        ("golden frame 0", "golden frame 1"), frames, heads,
        {"floor": labels, "far": depth, "kind": scores}, {"floor": other, "far": depth, "kind": scores[:, ::-1].copy()},
    )  # fmt: skip
