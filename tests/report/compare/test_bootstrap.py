"""The statistics, on series of which the truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edgec.latency.bootstrap import (
    CONFIDENCE,
    LEVEL_FLOOR,
    SampledRun,
    block_length,
    paired_ratio,
    quantile,
    ratio,
    samples_needed,
)
from edgec.onboard.statistics import summary

NO_ROUNDS = np.empty(0, dtype=np.int64)


def run(
    logs: np.ndarray[tuple[int], np.dtype[np.float64]], rounds: np.ndarray[tuple[int], np.dtype[np.int64]] = NO_ROUNDS
) -> SampledRun:
    return SampledRun(20 * np.exp(logs), rounds)


def quiet(chance: np.random.Generator, *, slower: float = 1.0, count: int = 200) -> SampledRun:
    """A machine at rest: noise of one percent, a slow drift, now and then something else, and each run at a level of its own."""
    drift = np.cumsum(chance.normal(0, 0.0005, count))
    spikes = (chance.random(count) < 0.02) * chance.exponential(0.2, count)
    return run(math.log(slower) + chance.normal(0, 0.006) + drift + spikes + chance.normal(0, 0.01, count))


def switching(chance: np.random.Generator, *, slower: float = 1.0, count: int = 200) -> SampledRun:
    """A machine that is shared: for some forty runs at a time it is a fifth slower, or is not."""
    changes = chance.random(count) < 1 / 40
    states = chance.random(count) < 0.4
    at = np.maximum.accumulate(np.where(changes, np.arange(count), 0))
    return run(math.log(slower) + 0.18 * states[at] + chance.normal(0, 0.015, count))


def test_what_a_quantile_needs() -> None:
    assert (samples_needed(0.5), samples_needed(0.99)) == (6, 368)
    tail = (1 - CONFIDENCE) / 2
    assert 0.99**368 <= tail < 0.99**367


def test_quantiles_are_those_of_reports() -> None:
    chance = np.random.default_rng(0)
    for count in (1, 2, 5, 99, 100, 101, 368):
        taken = chance.exponential(10, count)
        said = summary(list(taken))
        assert [quantile(taken, share) for share in (0.5, 0.9, 0.99, 1.0)] == [said.p50_ms, said.p90_ms, said.p99_ms, said.max_ms]


def test_blocks_are_as_long_as_samples_depend_on_one_another() -> None:
    chance = np.random.default_rng(0)
    independent = np.exp(chance.normal(size=500))
    walk = np.zeros(500)
    for index in range(1, 500):
        walk[index] = 0.95 * walk[index - 1] + chance.normal()
    assert block_length(independent) <= 5
    assert block_length(np.exp(walk)) >= 15
    spiked = np.exp(walk)
    spiked[np.argmax(spiked)] *= 1e6
    assert block_length(spiked) == block_length(np.exp(walk))
    assert block_length(np.full(100, 5.0)) == 1


@pytest.mark.parametrize("count", [6, 7, 20, 5000])
def test_draws_are_of_the_samples_and_keep_neighbours_together(count: int) -> None:
    made = run(np.cumsum(np.random.default_rng(0).normal(size=count)))
    assert made.draws.shape[1] == count
    assert np.isin(made.draws, made.samples).all()
    following = dict(zip(made.samples, np.roll(made.samples, -1), strict=True))
    result = np.mean([following[first] == second for first, second in zip(made.draws[0], made.draws[0, 1:], strict=False)])
    assert result >= 1 - 1.5 / block_length(made.samples)


def test_a_run_against_itself() -> None:
    one = quiet(np.random.default_rng(0), count=400)
    for share in (0.5, 0.99):
        result = ratio([one], [one], share)
        assert result.value == 1
        assert result.low < 1 < result.high


def test_the_other_way_round_is_the_inverse() -> None:
    chance = np.random.default_rng(0)
    one, other = quiet(chance), quiet(chance, slower=1.2)
    forth, back = ratio([one], [other], 0.5), ratio([other], [one], 0.5)
    assert forth.value == pytest.approx(1 / back.value)
    assert forth.low == pytest.approx(1 / back.high, rel=0.02)


def test_even_samples_without_noise_leave_what_runs_differ_by() -> None:
    still = SampledRun(np.full(400, 20.0), NO_ROUNDS)
    result = ratio([still], [still], 0.5)
    assert 1 / result.low == pytest.approx(result.high, rel=0.02)
    assert result.high - 1 > 2 * LEVEL_FLOOR


Machine = Callable[..., SampledRun]


@pytest.mark.parametrize(("machine", "runs"), [(quiet, 1), (switching, 1), (switching, 3)])
def test_two_runs_of_one_artefact_raise_no_alarm(machine: Machine, runs: int) -> None:
    chance = np.random.default_rng(1)
    result = [ratio([machine(chance) for _ in range(runs)], [machine(chance) for _ in range(runs)], 0.5) for _ in range(60)]
    assert sum(each.low > 1 or each.high < 1 for each in result) < 3


@pytest.mark.parametrize("runs", [1, 3])
def test_a_slowdown_of_a_tenth_is_seen_on_a_machine_at_rest(runs: int) -> None:
    chance = np.random.default_rng(2)
    result = [
        ratio([quiet(chance) for _ in range(runs)], [quiet(chance, slower=1.1) for _ in range(runs)], 0.5) for _ in range(30)
    ]
    assert sum(each.low > 1 for each in result) >= 27
    assert float(np.median([each.shown for each in result])) < 1.1


def test_the_smallest_detectable_effect_is_detected_four_times_out_of_five() -> None:
    chance = np.random.default_rng(3)

    def side(slower: float = 1.0) -> list[SampledRun]:
        return [quiet(chance, slower=slower) for _ in range(3)]

    effect = float(np.median([ratio(side(), side(), 0.5).shown for _ in range(10)]))
    assert effect < 1.05
    result = [ratio(side(), side(effect), 0.5) for _ in range(30)]
    assert np.mean([each.low > 1 for each in result]) >= 0.75


def test_runs_that_differ_by_more_than_their_samples_do_widen_the_interval() -> None:
    chance = np.random.default_rng(4)

    def side(level: float) -> list[SampledRun]:
        return [run(chance.normal(0, level) + chance.normal(0, 0.01, 100)) for _ in range(5)]

    alike, apart = ratio(side(0.002), side(0.002), 0.5), ratio(side(0.08), side(0.08), 0.5)
    assert alike.high / alike.low < 1.05
    assert apart.high / apart.low > 1.12


def test_candidates_that_took_turns_are_compared_turn_by_turn() -> None:
    chance = np.random.default_rng(5)
    rounds = np.repeat(np.arange(20), 10)
    disturbance = np.repeat(chance.normal(0, 0.2, 20), 10)
    one = run(disturbance + chance.normal(0, 0.01, 200), rounds)
    other = run(math.log(1.08) + disturbance + chance.normal(0, 0.01, 200), rounds)
    alone, together = ratio([one], [other], 0.5), paired_ratio(one, other, 0.5)
    assert alone.low < 1 < alone.high
    assert 1.03 < together.low < 1.08 < together.high


def processes(chance: np.random.Generator, *, slower: float = 1.0, apart: float = 0.012, each: int = 40) -> SampledRun:
    """Five processes of one run, each at a level of its own, after the machine's speed was taken out."""
    numbers = np.repeat(np.arange(5), each)
    levels = chance.normal(math.log(slower), apart, 5)[numbers]
    return SampledRun(20 * np.exp(levels + chance.normal(0, 0.03, 5 * each)), numbers, numbers, paced=True)


def test_processes_are_drawn_again_before_their_samples() -> None:
    run = processes(np.random.default_rng(7), apart=0.2)
    assert [len(part) for part in run.parts] == [40] * 5
    owner = {sample: number for number, part in enumerate(run.parts) for sample in part}
    drawn = [[owner[sample] for sample in row] for row in run.draws[:200]]
    assert all(len(row) == 200 for row in drawn)
    kinds = [len(set(row)) for row in drawn]
    assert 3 < np.mean(kinds) < 3.7  # five out of five, put back: 5 (1 - 0.8^5) = 3.36
    spread = float(np.std([math.log(quantile(row, 0.5)) for row in run.draws]))
    alone = SampledRun(run.samples, run.rounds)
    assert spread > 1.3 * float(np.std([math.log(quantile(row, 0.5)) for row in alone.draws]))


def test_one_run_a_side_of_several_processes_is_honest_and_sees_a_tenth() -> None:
    chance = np.random.default_rng(8)
    false = [ratio([processes(chance)], [processes(chance)], 0.5) for _ in range(60)]
    assert sum(each.low > 1 or each.high < 1 for each in false) < 3
    true = [ratio([processes(chance)], [processes(chance, slower=1.1)], 0.5) for _ in range(30)]
    assert sum(each.low > 1 for each in true) >= 27
    assert float(np.median([each.shown for each in true])) < 1.09


def test_where_the_machines_speed_is_unknown_processes_alone_do_not_make_it_sure() -> None:
    chance = np.random.default_rng(11)
    sides = [processes(chance, apart=0.03)], [processes(chance, apart=0.03)]
    unpaced = [replace(sides[0][0], paced=False)], [replace(sides[1][0], paced=False)]
    sure, doubtful = ratio(*sides, 0.5), ratio(*unpaced, 0.5)
    assert doubtful.value == sure.value
    assert doubtful.high / doubtful.low > 1.05 * sure.high / sure.low


def test_doubt_widens_the_interval() -> None:
    chance = np.random.default_rng(9)
    sides = [processes(chance)], [processes(chance)]
    sure, doubtful = ratio(*sides, 0.5), ratio(*sides, 0.5, doubt=0.03)
    assert doubtful.value == sure.value
    assert doubtful.high / doubtful.low > 1.02 * sure.high / sure.low
    assert doubtful.high > math.exp(1.5 * 0.03)


@pytest.mark.parametrize("lengths", [[7, 20, 14], [1, 2, 3, 4], [1] * 40])
def test_processes_of_unequal_length(lengths: list[int]) -> None:
    chance = np.random.default_rng(10)
    numbers = np.repeat(np.arange(len(lengths)), lengths)
    run = SampledRun(20 * np.exp(chance.normal(0, 0.02, len(numbers))), numbers, numbers)
    assert [len(part) for part in run.parts] == lengths
    assert run.draws.shape[1] == len(numbers)
    assert np.isin(run.draws, run.samples).all()
    result = ratio([run], [run], 0.5)
    assert result.low < 1 < result.high


def test_long_series_are_drawn_less_often_and_say_the_same() -> None:
    chance = np.random.default_rng(6)
    one, other = quiet(chance, count=4000), quiet(chance, count=4000, slower=1.3)
    assert len(one.draws) == 300
    result = ratio([one], [other], 0.99)
    assert result.low < 1.3 < result.high
