from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgec.errors import Regression
from edgec.report.compare.opening import open_side
from edgec.report.compare.verdicts import Comparison, Verdict, compare, gate
from tests.support.reports import samples

Written = Callable[..., Path]
Compared = Callable[..., Comparison]


@pytest.fixture
def compared(write: Written) -> Compared:
    """An ordinary report, and one with these samples and changes, compared."""

    def compared(taken: list[float] | None = None, **changes: Any) -> Comparison:
        other = write("after.json", samples(1) if taken is None else taken, **changes)
        return compare(open_side(write("before.json")), open_side(other))

    return compared


@pytest.mark.parametrize(
    ("ms", "verdict"), [(20.0, Verdict.SAME), (20.4, Verdict.SAME), (23.0, Verdict.SLOWER), (17.0, Verdict.FASTER)]
)
def test_verdicts(compared: Compared, ms: float, verdict: Verdict) -> None:
    for judged in compared(samples(1, ms=ms)).latency:
        assert judged.verdict is verdict
        assert judged.ratio is not None
        assert judged.ratio.value == pytest.approx(ms / 20, abs=0.02)
        assert judged.ratio.low < ms / 20 < judged.ratio.high


def test_p99_of_few_runs_is_not_compared(compared: Compared) -> None:
    p50, p99 = compared(samples(1, count=100)).latency
    assert p50.verdict is Verdict.SAME
    assert (p99.verdict, p99.ratio) == (None, None)
    assert p99.why_not == "too few runs to compare p99: 100 of 368 needed"


def test_without_samples_or_latency_there_is_no_verdict(compared: Compared) -> None:
    for changes, why in (
        ({"latency__samples_ms": ()}, "holds no samples"),
        ({"candidate__latency": None}, "no measured latency"),
    ):
        result = compared(**changes)
        assert all(judged.verdict is None and why in judged.why_not for judged in result.latency)
        assert len(gate([result], 5).blind) == 2


def test_a_single_run_on_a_busy_machine_is_shown_and_not_judged(compared: Compared, write: Written) -> None:
    result = compared(samples(1, ms=40), latency__other_cores=1.2)
    for judged in result.latency:
        assert judged.ratio is not None
        assert judged.verdict is None
        assert "other work used 1.2 of 2 cores while" in judged.why_not
    assert gate([result], 5).alarms == ()
    assert all(judged.verdict is Verdict.SLOWER for judged in compared(samples(1, ms=40), latency__other_cores=0.1).latency)


def test_a_run_under_throttling_is_shown_and_not_judged(compared: Compared) -> None:
    result = compared(samples(1, ms=40), latency__throttled=("under-voltage", "cooling device cpu: state 2"))
    for judged in result.latency:
        assert judged.ratio is not None
        assert judged.verdict is None
        assert "after.json was throttled while it was measured: under-voltage, cooling device cpu: state 2" in judged.why_not
    gated = gate([result], 5)
    assert gated.alarms == ()
    assert sum("is not gated" in line for line in gated.blind) == 2


def test_a_regression_of_latency(compared: Compared) -> None:
    result = gate([compared(samples(1, ms=22))], 5)
    assert len(result.alarms) == 2
    with pytest.raises(Regression, match="more than 5 %") as caught:
        result.enforce()
    assert caught.value.exit_code == 17
    assert "p50 is 1" in caught.value.evidence[0]


def test_a_regression_of_p99_alone(compared: Compared) -> None:
    hiccups = [3 * sample if index % 20 == 7 else sample for index, sample in enumerate(samples(1))]
    (alarm,) = gate([compared(hiccups)], 5).alarms
    assert ": p99 is" in alarm


@pytest.mark.parametrize(("ms", "percent"), [(20.0, 5), (21.5, 10), (17.0, 5)])
def test_no_regression(compared: Compared, ms: float, percent: float) -> None:
    result = gate([compared(samples(1, ms=ms))], percent)
    assert result.alarms == ()
    result.enforce()


def test_what_the_gate_cannot_judge_is_listed(compared: Compared) -> None:
    noisy = samples(1, noise=0.3, count=60)
    blind = gate([compared(noisy)], 5).blind
    assert "would have to be" in blind[0]
    assert "p99 is not gated: too few runs" in blind[1]


@pytest.mark.parametrize("field", ["cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01"])
def test_fidelity_may_lose_a_share_of_the_budget(compared: Compared, field: str) -> None:
    """The budget is 0.01: five percent of it are 0.0005."""
    before = compared()
    assert set(before.fidelity.values()) == {0.0}
    assert before.first.fidelity is not None
    value = getattr(before.first.fidelity, field)
    for loss, alarms in ((0.0004, 0), (0.0006, 1), (-0.00005, 0)):
        result = gate([compared(**{f"fidelity__{field}": value - loss})], 5)
        assert len(result.alarms) == alarms
    assert len(gate([compared(**{f"fidelity__{field}": value - 0.0006})], 10).alarms) == 0


def test_without_fidelity_the_gate_says_so(compared: Compared) -> None:
    assert "fidelity is not gated" in gate([compared(candidate__fidelity=None)], 5).blind[-1]
