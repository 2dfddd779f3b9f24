"""What benchmarks make of samples and features: ratios with their intervals, losses, neighbours, goals."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from benchmarks.contender import Contender, Judgement, judge
from benchmarks.goals import RANDOM, TRAINED, Goal, build_goals, fidelity_goals, latency_goal, neighbours_goal, tensorrt_goals
from benchmarks.neighbours import Neighbours, right
from benchmarks.race import BLOCK, Blocks, median, percentile, race, ratio
from benchmarks.tables import Result, contest_table, goals_table
from edgec.records.evidence import Evidence

PEER = Judgement(cls_mean=0.99, patch_mean=0.998, patch_p01=0.96, frames=8, evidence="measured on host")
OURS = replace(PEER, patch_mean=0.9996, patch_p01=0.995)


def _blocks(seed: int, typical: float, rounds: int = 12, noise: float = 0.02) -> Blocks:
    random = np.random.default_rng(seed)
    weather = np.random.default_rng(99).uniform(1, 1.3, rounds)
    return tuple(tuple(typical * slow * random.lognormal(0, noise, BLOCK)) for slow in weather)


def test_the_interval_of_a_ratio_contains_the_true_one_and_uses_pairs_of_rounds() -> None:
    ours, theirs = _blocks(1, 17.0), _blocks(2, 20.0)
    result = ratio(ours, theirs)
    assert result.low < 0.85 < result.high
    assert result.high - result.low < 0.05
    shuffled = tuple(theirs[index] for index in np.random.default_rng(0).permutation(len(theirs)))
    unpaired = ratio(ours, shuffled)
    assert unpaired.value == result.value
    assert unpaired.high - unpaired.low > 2 * (result.high - result.low)


def test_a_contender_against_itself_has_no_interval() -> None:
    blocks = _blocks(1, 5.0)
    assert (ratio(blocks, blocks).low, ratio(blocks, blocks).high) == (1, 1)


def test_blocks_of_slow_and_fast_contenders_may_differ_in_length() -> None:
    slow = tuple(block[:2] for block in _blocks(2, 40.0))
    result = ratio(_blocks(1, 20.0), slow)
    assert result.low < 0.5 < result.high


def test_percentiles_are_samples_that_were_taken() -> None:
    blocks = ((3.0, 1.0), (2.0, 40.0))
    assert percentile(blocks, 99) == 40
    assert median(blocks) == 2.5


def test_all_contenders_take_a_turn_in_every_round() -> None:
    turns: list[str] = []

    def contender(name: str) -> Contender:
        def run(_: object) -> dict[str, np.ndarray]:
            if not turns or turns[-1] != name:
                turns.append(name)
            return {}

        return Contender(name, run)

    names = ("a", "b", "c")
    blocks = race([contender(name) for name in names], [np.zeros((2, 2, 3), np.uint8)], 5)
    assert all(len(each) == 5 and {len(block) for block in each} == {BLOCK} for each in blocks)
    rounds = turns[len(names) :]
    assert all(rounds.count(name) >= 4 for name in names)  # a turn that follows one's own is not seen as another
    assert len({tuple(rounds[index : index + 3]) for index in range(0, 12, 3)}) > 1


def test_a_judgement_is_of_all_patches_of_all_frames_and_not_rounded() -> None:
    random = np.random.default_rng(0)
    expected = [
        {"cls": random.normal(size=(1, 8)).astype(np.float32), "patches": random.normal(size=(1, 5, 5, 8)).astype(np.float32)}
        for _ in range(4)
    ]
    frames = [np.full((2, 2, 3), index, np.uint8) for index in range(4)]

    def run(frame: np.ndarray) -> dict[str, np.ndarray]:
        exact = expected[int(frame[0, 0, 0])]
        wrong = exact["patches"].copy()
        wrong[0, 0, 0] *= -1
        return {"cls": exact["cls"], "patches": wrong * (1 + 1e-3 * random.normal(size=wrong.shape).astype(np.float32))}

    result = judge(run, frames, expected, Evidence.SIMULATED)
    assert (result.frames, result.evidence) == (4, "simulated on host")
    assert result.cls_mean == pytest.approx(1)
    assert result.patch_mean == pytest.approx(1 - 2 / 25, abs=1e-4)
    assert result.patch_p01 == pytest.approx(-1, abs=1e-4)
    assert result.lost_mean != round(result.lost_mean, 6)


def test_neighbours_vote_and_none_votes_for_itself() -> None:
    angles = np.array([0, 1, 2, 3, 90, 91, 92, 93, 45.0]) * np.pi / 180
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    labels = [*"aaaa", *"bbbb", "c"]
    assert right(features, labels, neighbours=3).tolist() == [True] * 8 + [False]
    assert not right(features[[0, 4]], ["a", "b"], neighbours=1).any()


def test_ties_go_to_the_nearer_class() -> None:
    angles = np.array([0, 5, 10, -1, -30]) * np.pi / 180
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    # Each `a` has two neighbours of either class, and those of its own are nearer in sum; each `b` is outvoted.
    assert right(features, ["a", "a", "a", "b", "b"], neighbours=4).tolist() == [True, True, True, False, False]


def test_goals_are_met_or_not() -> None:
    p01, mean = fidelity_goals("m", TRAINED, OURS, PEER, "NNCF", held=True)
    assert (p01.met, mean.met) == (True, True)
    assert p01.measured.startswith("0.125")
    p01, mean = fidelity_goals("m", TRAINED, replace(OURS, patch_p01=0.99, patch_mean=0.999), PEER, "NNCF", held=True)
    assert (p01.met, mean.met) == (False, False)
    assert all(goal.met for goal in fidelity_goals("m", RANDOM, PEER, PEER, "NNCF", held=True))
    assert all(goal.met is None for goal in fidelity_goals("m", TRAINED, OURS, PEER, "NNCF", held=False))
    fast, slow = ratio(_blocks(1, 17.0), _blocks(2, 20.0)), ratio(_blocks(1, 21.0), _blocks(2, 20.0))
    assert (latency_goal("m", fast, "NNCF", held=True).met, latency_goal("m", slow, "NNCF", held=True).met) == (True, False)
    worst, share = tensorrt_goals("m", TRAINED, OURS, PEER, share=0.84, of_weights=1.0)
    assert (worst.met, share.met) == (True, False)
    assert worst.evidence is share.evidence is Evidence.SIMULATED
    told = np.arange(136) < 68
    swapped = np.roll(told, 1)
    assert neighbours_goal("m", Neighbours(told, swapped)).met
    assert "1 pictures gained, 1 lost)" in neighbours_goal("m", Neighbours(told, swapped)).measured
    lost = neighbours_goal("m", Neighbours(told, np.arange(136) < 67, bfloat16=np.arange(136) < 69))
    assert not lost.met
    assert lost.measured == "-0.74  (49.26 minus 50.00; 0 pictures gained, 1 lost; OpenVINO's bfloat16: +0.74)"
    assert [goal.met for goal in build_goals("m", "full", 100, 10**9, 4 * 10**9)] == [True, False]
    assert [goal.met for goal in build_goals("m", "quick", 100, 10**9, 10**9)] == [False]


def test_tables_fit_120_columns_and_say_what_ships() -> None:
    results = [
        Result(Contender("edgec: openvino-int8-tokens-24", lambda frame: {}, shipped=True), OURS, _blocks(1, 170.0)),
        Result(Contender("NNCF TRANSFORMER on edgec's hub graph", lambda frame: {}), PEER, _blocks(2, 2000.0)),
    ]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(contest_table(results, results[0]))
    goals = [Goal("wide vits16plus 224x224", "a figure " * 8, "<= 0.15", "0.125  (5.00e-03 over 4.00e-02)", False)]
    console.print(goals_table(goals))
    text = console.export_text()
    assert "openvino-int8-tokens-24 [ships,ours]" in text
    assert "…" not in text
    assert "NOT MET" in text
    assert max(len(line) for line in text.splitlines()) <= 120
