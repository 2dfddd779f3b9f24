"""The machine's speed, taken out by the yardstick that took turns with what was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from edgec.onboard.statistics import summary
from edgec.records.evidence import Evidence
from edgec.records.report import Block, CandidateFigures, Latency, Report
from edgec.report.compare.opening import open_side
from edgec.report.compare.pace import YARDSTICK, as_run, paced, yardstick
from edgec.report.compare.rendering import remarks, to_json
from edgec.report.compare.verdicts import Comparison, Verdict, compare, gate

Made = Callable[..., Report]
PROCESSES, ROUNDS, RUNS, READINGS = 5, 4, 20, 8


def latency(samples: np.ndarray[tuple[int], np.dtype[np.float64]], blocks: list[Block]) -> Latency:
    taken = [round(float(sample), 4) for sample in samples]
    figures = asdict(summary(taken))
    return Latency(
        **figures,
        iterations=len(taken),
        warmup=5,
        threads=2,
        samples_ms=tuple(taken),
        blocks=tuple(blocks),
        evidence=Evidence.HOST,
    )


@pytest.fixture
def bench(make: Made) -> Callable[..., Report]:
    """A report as `edgec bench` writes it: of a model that takes `ms` where the machine has its usual speed, and of a machine
    that takes `speeds` times as long, by process. `work` is what the yardstick does."""

    def bench(seed: int, *, ms: float = 20.0, speeds: tuple[float, ...] = (1.0,) * PROCESSES, work: str = "products") -> Report:
        chance = np.random.default_rng(seed)
        rounds = [(process * ROUNDS + turn, process) for process in range(PROCESSES) for turn in range(ROUNDS)]
        slow = np.array([speeds[process] for _, process in rounds])

        def series(level: float, runs: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
            comparison: np.ndarray[tuple[int], np.dtype[np.float64]] = level * np.repeat(slow, runs)
            noisy: np.ndarray[tuple[int], np.dtype[np.float64]] = comparison * np.exp(chance.normal(0, 0.02, len(comparison)))
            return noisy

        report = make()
        (chosen,) = (each for each in report.candidates if each.chosen)
        model = latency(series(ms, RUNS), [Block(round=number, runs=RUNS, process=process) for number, process in rounds])
        beside = latency(series(2.0, READINGS), [Block(round=number, runs=READINGS) for number, _ in rounds])
        stick = CandidateFigures(
            name=YARDSTICK, runtime="numpy", precision="fp32", latency=beside.model_copy(update={"flags": (work,)})
        )
        return report.model_copy(update={"candidates": (chosen.model_copy(update={"latency": model}), stick)})

    return bench


@pytest.fixture
def compared(bench: Callable[..., Report], tmp_path: Path) -> Callable[..., Comparison]:
    def compared(first: dict[str, object], second: dict[str, object]) -> Comparison:
        paths = tmp_path / "first.json", tmp_path / "second.json"
        for seed, (path, changes) in enumerate(zip(paths, (first, second), strict=True)):
            path.write_text(bench(seed, **changes).to_json())
        return compare(*map(open_side, paths))

    return compared


SLOW = {"speeds": (1.12, 1.14, 1.13, 1.12, 1.14)}


def test_a_slower_machine_is_no_slower_model(compared: Callable[..., Comparison]) -> None:
    comparison = compared({}, SLOW)
    assert comparison.pace == pytest.approx(1.13, abs=0.02)
    judged = comparison.latency[0]
    assert judged.ratio is not None
    assert judged.ratio.value == pytest.approx(1, abs=0.02)
    assert judged.verdict is Verdict.SAME
    assert gate([comparison], 5).alarms == ()
    assert comparison.second.quantile_ms("p50", 0.5) == pytest.approx(22.6, rel=0.02)
    (said,) = remarks([comparison])
    assert "% more time for" in said
    assert "taken out of the ratios" in said
    assert comparison.pace is not None
    (together,) = remarks([comparison, compared({}, {}), comparison, comparison])
    assert "took -" in together or "took +" in together
    assert f"to {100 * (comparison.pace - 1):+.1f} % time against" in together
    sides = to_json([comparison.first, comparison.second], [comparison], None)
    assert sides["comparisons"][0]["pace"] == comparison.pace
    assert [side["yardstick_ms"] for side in sides["sides"]] == [comparison.first.pace_ms, comparison.second.pace_ms]


def test_a_slower_model_on_a_faster_machine_is_seen(compared: Callable[..., Comparison]) -> None:
    comparison = compared(SLOW, {"ms": 23.5})
    assert comparison.pace is not None
    assert comparison.pace < 0.9
    assert comparison.latency[0].verdict is Verdict.SLOWER
    assert "% less time for" in remarks([comparison])[0]


def test_the_machine_changes_within_a_run(compared: Callable[..., Comparison]) -> None:
    changing = compared({}, {"speeds": (1.0, 1.0, 1.2, 1.2, 1.2)})
    assert changing.latency[0].verdict is Verdict.SAME
    assert changing.latency[0].ratio is not None
    assert changing.latency[0].ratio.high < 1.15


@pytest.mark.parametrize("second", [{"work": "other products"}, {"work": ""}])
def test_another_yardstick_is_not_used(compared: Callable[..., Comparison], second: dict[str, object]) -> None:
    comparison = compared({}, {**SLOW, **second})
    assert comparison.pace is None
    assert remarks([comparison]) == []
    assert comparison.latency[0].ratio is not None
    assert comparison.latency[0].ratio.value == pytest.approx(1.13, abs=0.02)


def test_without_a_yardstick_nothing_is_taken_out(bench: Callable[..., Report], make: Made) -> None:
    report = bench(0)
    chosen = report.candidates[0].latency
    assert chosen is not None
    run = as_run(chosen)
    alone = report.model_copy(update={"candidates": report.candidates[:1]})
    assert yardstick(alone) is None
    assert paced(run, alone) is None
    built = make().candidates[0].latency
    assert built is not None
    assert paced(as_run(built), report) is None
    stick = report.candidates[1].latency
    assert stick is not None
    for blocks in ((), tuple(Block(round=each.round + 500, runs=each.runs) for each in stick.blocks)):
        elsewhere = report.candidates[1].model_copy(update={"latency": stick.model_copy(update={"blocks": blocks})})
        assert paced(run, report.model_copy(update={"candidates": (report.candidates[0], elsewhere)})) is None
