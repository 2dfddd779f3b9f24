from __future__ import annotations

import pytest

from edgec.onboard.statistics import block_size, enough, summary, warmed_up


def test_percentiles_are_samples_that_were_taken() -> None:
    actual = summary([float(value) for value in range(100, 0, -1)])
    assert (actual.min_ms, actual.p50_ms, actual.p90_ms, actual.p99_ms, actual.max_ms) == (1, 50, 90, 99, 100)
    assert actual.mean_ms == 50.5


def test_few_samples() -> None:
    assert summary([7.0]).p99_ms == 7
    actual = summary([1.0, 2.0, 3.0, 1000.0])
    assert (actual.p50_ms, actual.p90_ms, actual.p99_ms, actual.max_ms) == (2, 1000, 1000, 1000)


@pytest.mark.parametrize(
    ("runs", "done"),
    [
        ([], False),
        ([10.0] * 4, False),
        ([10.0] * 9, False),
        ([10.0] * 10, True),
        ([20.0] * 5 + [10.0] * 5, False),
        ([10.4] * 5 + [10.0] * 5, True),
        ([9.0, 9.0, 10.4, 30.0, 30.0] + [10.0] * 5, True),
        ([2.0**-index for index in range(49)], False),
        ([2.0**-index for index in range(50)], True),
        ([1900.0] * 4, False),
        ([2000.0] * 5, True),
        ([1999.0] * 5, False),
        ([9000.0], False),
        ([9000.0] * 2, True),
    ],
)
def test_warm_up_ends_when_runs_are_stable_or_have_cost_enough(runs: list[float], done: bool) -> None:
    assert warmed_up(runs) is done


@pytest.mark.parametrize(
    ("count", "each_ms", "done"),
    [
        (0, 0.0, False),
        (99, 1.0, False),
        (100, 1.0, True),
        (19, 1000.0, False),
        (20, 1000.0, True),
        (4, 30_000.0, False),
        (5, 30_000.0, True),
        (5, 2000.0, False),
    ],
)
def test_slow_models_may_stop_early(count: int, each_ms: float, done: bool) -> None:
    assert enough([each_ms] * count, iterations=100, max_seconds=10) is done


@pytest.mark.parametrize(
    ("run_ms", "wanted", "size"),
    [(0.0, 100, 10), (20.0, 100, 10), (250.0, 100, 4), (5000.0, 100, 2), (20.0, 3, 3), (5000.0, 1, 1)],
)
def test_a_turn_lasts_about_a_second(run_ms: float, wanted: int, size: int) -> None:
    assert block_size(run_ms, wanted) == size
