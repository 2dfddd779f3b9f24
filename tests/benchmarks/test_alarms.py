"""The rates that `python -m benchmarks aa` prints, of runs whose truth is known."""

from __future__ import annotations

from pathlib import Path

from benchmarks.alarms import PAIRS, draw, rates
from edgec.onboard.statistics import summary
from edgec.records.consistency import read_report
from edgec.report.compare.sides import Side
from tests.support.reports import samples

KEPT = Path(__file__).parents[1] / "report" / "kept" / "version-1.json"


def side(seed: int, ms: float) -> Side:
    report = read_report(KEPT)
    (chosen,) = (candidate for candidate in report.candidates if candidate.chosen)
    assert chosen.latency is not None
    taken = samples(seed, count=60, ms=ms)
    figures = {**vars(summary(taken)), "samples_ms": tuple(taken), "iterations": 60}
    return Side(str(seed), (report,), (chosen.model_copy(update={"latency": chosen.latency.model_copy(update=figures)}),))


def test_pairs_and_their_rates() -> None:
    usual, slower = [side(seed, 20) for seed in range(6)], [side(seed, 24) for seed in range(6, 12)]
    alike, apart = draw(usual, usual, 3), draw(usual, slower, 1)
    assert len(alike) == len(apart) == PAIRS
    for first, second in alike:
        assert len(first.candidates) == len(second.candidates) == 3
        assert not {id(each) for each in first.candidates} & {id(each) for each in second.candidates}
    false, true = rates(alike[:10], 5), rates(apart[:10], 5)
    assert (false.slower, false.gated, false.judged, false.p99_judged, false.p99_different) == (0, 0, 1, 0, 0)
    assert (true.pairs, true.faster, true.slower, true.gated) == (10, 0, 1, 1)
    assert 1 < true.shown < 1.2
