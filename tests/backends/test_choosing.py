"""INT8 must pay: which candidate ships, and the sentence that says why."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest

from edgec.backends.apple.choosing import choose_first
from edgec.backends.choosing import choose_named
from edgec.backends.cpu.choosing import IN_QUESTION, NEAR, WORTH, choose, finalists, undecided
from edgec.backends.cpu.choosing import choose_unmeasured as choose_on_cpu
from edgec.backends.cpu.profile import Counts, CpuProfile
from edgec.backends.jetson.choosing import choose_unmeasured
from edgec.backends.profiles import resolve
from edgec.errors import EdgecError, FidelityError, RequestError, RuntimeFailure
from edgec.fidelity.budget import Budget
from edgec.host.facts import facts
from edgec.latency.bootstrap import SampledRun
from edgec.latency.pairing import sampled
from edgec.records.evidence import Evidence
from edgec.records.fidelity import StageFidelity
from edgec.records.report import Block, CandidateFigures, Latency


def candidate(
    name: str, p50: float | None, cosine: float | None = 0.9999, *, problem: str = "", figures: dict[str, float] | None = None
) -> CandidateFigures:
    """`name` is runtime and precision, as in `openvino-int8`, and what else tells it from others."""
    runtime, precision, *_ = name.split("-")
    cosines = dict.fromkeys(("cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01"), cosine) | (figures or {})
    fidelity = None if cosine is None else StageFidelity(stage=name, frames=8, evidence=Evidence.HOST, **cosines)
    latency = None
    if p50 is not None:
        latency = Latency(
            min_ms=p50, p50_ms=p50, p90_ms=p50, p99_ms=9 * p50, max_ms=9 * p50, mean_ms=2 * p50,
            iterations=10, warmup=3, threads=2, evidence=Evidence.HOST,
        )  # fmt: skip
    return CandidateFigures(name=name, runtime=runtime, precision=precision, fidelity=fidelity, latency=latency, problem=problem)


FP32, BF16 = candidate("openvino-fp32", 60.0, 1.0), candidate("openvino-bf16", 40.0)


def chosen(*candidates: CandidateFigures, budget: float = 0.99) -> str:
    """The choice, which may not depend on the order that candidates come in."""
    names = {choose(order, Budget(budget)).candidate.name for order in permutations(candidates)}
    assert len(names) == 1
    return names.pop()


def test_the_fastest_within_the_budget_ships() -> None:
    assert chosen(FP32, BF16, candidate("openvino-int8", 25.0, 0.995)) == "openvino-int8"


def test_int8_beyond_the_budget_does_not_ship_however_fast() -> None:
    assert chosen(FP32, BF16, candidate("openvino-int8", 1.0, 0.9899)) == "openvino-bf16"


def test_a_named_candidate_ships_however_slow() -> None:
    slow = candidate("openvino-int8", 25.0, 0.995)
    choice = choose_named("openvino-int8", [FP32, BF16, slow], Budget(0.99))
    assert choice.candidate is slow
    assert "because --candidate names it" in choice.reason


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("openvino-int4", RequestError, "openvino-fp32, openvino-bf16, openvino-int8, onnxruntime-int8"),
        ("openvino-int8", FidelityError, "openvino-int8: 0.98000"),
        ("onnxruntime-int8", RuntimeFailure, "onnxruntime-int8: refuses it"),
    ],
)
def test_a_named_candidate_must_be_there_run_and_keep_the_budget(name: str, error: type[EdgecError], says: str) -> None:
    candidates = [
        FP32,
        BF16,
        candidate("openvino-int8", 5.0, 0.98),
        candidate("onnxruntime-int8", None, None, problem="refuses it"),
    ]
    with pytest.raises(error) as caught:
        choose_named(name, candidates, Budget(0.99))
    assert says in "\n".join(caught.value.evidence)


def test_the_budget_itself_is_within_the_budget() -> None:
    assert chosen(FP32, candidate("openvino-int8", 20.0, 0.99)) == "openvino-int8"


@pytest.mark.parametrize("figure", ["cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01"])
def test_each_of_the_three_figures_is_bounded(figure: str) -> None:
    lost = candidate("openvino-int8", 10.0, 0.999, figures={figure: 0.98})
    assert chosen(FP32, lost) == "openvino-fp32"
    assert "0.9800" in choose([FP32, lost], Budget(0.99)).reason


def test_int8_that_is_not_faster_does_not_ship() -> None:
    assert chosen(FP32, BF16, candidate("openvino-int8", 40.0)) == "openvino-bf16"
    assert chosen(FP32, BF16, candidate("openvino-int8", 55.0)) == "openvino-bf16"


def test_a_little_speed_is_not_worth_many_features() -> None:
    """Within `NEAR` of the fastest, the one that loses much less ships; beyond it, speed decides within the budget."""
    assert chosen(FP32, candidate("openvino-int8", 60.0 / (1 + NEAR / 2))) == "openvino-fp32"
    assert chosen(FP32, candidate("openvino-int8", 60.0 / (1 + 2 * NEAR))) == "openvino-int8"
    static, tokens = candidate("openvino-int8", 20.0, 0.9990), candidate("onnxruntime-int8", 21.0, 0.9999)
    assert chosen(FP32, static, tokens) == "onnxruntime-int8"
    assert chosen(FP32, static, candidate("onnxruntime-int8", 22.0, 0.9999)) == "openvino-int8"


def test_a_few_features_more_are_not_worth_any_speed() -> None:
    static = candidate("openvino-int8", 20.0, 0.9990)
    assert chosen(static, candidate("onnxruntime-int8", 20.5, 0.9991)) == "openvino-int8"


def test_every_step_to_a_slower_candidate_must_be_worth_it() -> None:
    """bf16 is faster than fp32, int8 faster than fp32 but not than bf16."""
    assert chosen(FP32, BF16, candidate("openvino-int8", 50.0)) == "openvino-bf16"
    assert chosen(FP32, candidate("openvino-bf16", 70.0), candidate("openvino-int8", 50.0)) == "openvino-int8"


def test_among_runtimes_of_one_precision_the_faster_ships() -> None:
    assert chosen(FP32, candidate("onnxruntime-fp32", 59.9, 1.0)) == "onnxruntime-fp32"
    fast, slow = candidate("onnxruntime-int8", 20.0), candidate("openvino-int8", 21.0)
    assert chosen(FP32, BF16, fast, slow) == "onnxruntime-int8"
    assert chosen(FP32, candidate("openvino-int8", 21.0), candidate("onnxruntime-int8", 20.0, 0.5)) == "openvino-int8"


def test_a_candidate_that_did_not_run_is_not_chosen() -> None:
    broken = candidate("openvino-int8", None, None, problem="not installed: pip install this")
    unmeasured = candidate("onnxruntime-int8", None, 0.999, problem="the worker died")
    assert chosen(FP32, broken, unmeasured) == "openvino-fp32"


def test_a_requested_precision_ships_as_the_only_one() -> None:
    assert chosen(candidate("openvino-int8", 100.0), candidate("onnxruntime-int8", 90.0)) == "onnxruntime-int8"
    assert chosen(candidate("openvino-int8", 100.0, 0.9999)) == "openvino-int8"


def test_fp32_is_judged_too() -> None:
    """A runtime whose float32 is wrong must not ship because it is called exact."""
    assert chosen(candidate("onnxruntime-fp32", 10.0, 0.2), candidate("openvino-fp32", 60.0, 1.0)) == "openvino-fp32"
    assert chosen(candidate("onnxruntime-fp32", 10.0, 0.2), candidate("openvino-int8", 70.0)) == "openvino-int8"


def test_choices_of_many_random_candidates_are_sound() -> None:
    """Whatever is chosen is within the budget and near the fastest that is; what is faster loses more features."""
    generator = random.Random(0)
    for _ in range(300):
        pool = [
            candidate(f"{runtime}-{precision}", generator.uniform(10, 100), generator.choice([0.5, 0.98, 0.995, 1.0]))
            for runtime in ("openvino", "onnxruntime")
            for precision in ("fp32", "bf16", "fp16", "int8")
        ]
        within = [entry for entry in pool if entry.fidelity and entry.fidelity.patch_cosine_p01 >= 0.99]
        if not within:
            continue
        ships = choose(pool, Budget(0.99)).candidate
        assert ships in within
        fastest = min(within, key=p50)
        assert p50(ships) <= p50(fastest) * (1 + NEAR)
        for other in within:
            if p50(other) < p50(ships):
                assert lost(ships) < lost(other)
        assert ships is fastest or lost(ships) <= WORTH * lost(fastest)


def p50(entry: CandidateFigures) -> float:
    assert entry.latency is not None
    return entry.latency.p50_ms


def lost(entry: CandidateFigures) -> float:
    assert entry.fidelity is not None
    return 1 - entry.fidelity.patch_cosine_p01


# --- what noise cannot make


def race(slower: float, seed: int, *, faithful: float, busy: bool) -> tuple[str, int]:
    """What ships of two candidates, int8 and one that takes `slower` times as long, and how many rounds that took. On a `busy`
    machine each round is slower for both by another factor, up to three, and each sample by its own."""
    chance = np.random.default_rng(seed)
    names = ["openvino-int8-static", "openvino-int8-mixed"]
    figures = [candidate(names[0], 10.0, 0.9990), candidate(names[1], 10.0 * slower, faithful)]
    times: list[list[float]] = [[], []]
    rounds = 0
    while rounds < 10 or (rounds < 60 and undecided(figures, Budget(0.99), dict(enumerate(map(taken, times))))):
        for _ in range(5):
            load = chance.uniform(1, 3) if busy else 1.0
            for own, base in zip(times, (10.0, 10.0 * slower), strict=True):
                own += list(base * load * chance.lognormal(0, 0.25 if busy else 0.02, 10))
            rounds += 1
    measured = [
        each.model_copy(update={"latency": Latency.of(own, warmup=1, threads=2, blocks=blocks(own), evidence=Evidence.HOST)})
        for each, own in zip(figures, times, strict=True)
    ]
    return choose(measured, Budget(0.99)).candidate.name, rounds


def blocks(times: Sequence[float]) -> tuple[Block, ...]:
    return tuple(Block(round=number, runs=10) for number in range(len(times) // 10))


def taken(times: Sequence[float]) -> SampledRun:
    return sampled(times, blocks(times))


@pytest.mark.parametrize(
    ("slower", "faithful", "ships"),
    [
        (1.00, 0.9991, "openvino-int8-mixed"),  # a tie goes to the more faithful one, by however little
        (1.03, 0.9999, "openvino-int8-mixed"),
        (1.20, 0.9999, "openvino-int8-static"),
        (1.40, 0.9999, "openvino-int8-static"),
    ],
)
@pytest.mark.parametrize("busy", [False, True])
def test_the_same_candidate_ships_on_a_busy_machine(slower: float, faithful: float, ships: str, busy: bool) -> None:
    assert Counter(race(slower, seed, faithful=faithful, busy=busy)[0] for seed in range(20))[ships] >= 19


def test_measuring_goes_on_only_while_what_ships_is_open() -> None:
    """A tie between candidates that lose the same is open for ever, and decides nothing."""
    assert race(1.4, 0, faithful=0.9999, busy=False)[1] == 10
    assert race(1.08, 0, faithful=0.9990, busy=True)[1] == 10
    assert race(1.15, 0, faithful=0.9999, busy=True)[1] > 10


def test_the_reason_calls_a_tie_one() -> None:
    times = [10.0, 11.0, 9.0, 10.5, 9.5] * 20
    latency = Latency.of(times, warmup=1, threads=2, blocks=blocks(times), evidence=Evidence.HOST)
    pair = [candidate("openvino-int8-static", 1, 0.999), candidate("openvino-int8-mixed", 1, 0.9992)]
    choice = choose([each.model_copy(update={"latency": latency}) for each in pair], Budget(0.99))
    assert choice.candidate.name == "openvino-int8-mixed"
    assert "openvino-int8-static is as fast, as far as can be told, and keeps less (0.99900)" in choice.reason


# --- the reason


def test_the_reason_states_the_gain_over_fp32_and_the_fidelity() -> None:
    int8 = candidate("openvino-int8", 25.0, 0.9999, figures={"patch_cosine_p01": 0.9951})
    reason = choose([FP32, candidate("onnxruntime-fp32", 50.0, 1.0), int8], Budget(0.99)).reason
    assert reason.startswith("openvino-int8 takes 25.00 ms at the median")
    assert "2.0 times as fast as the best fp32" in reason
    assert "fidelity is 0.99510 of 0.99 asked" in reason
    assert reason.endswith(".")


def test_the_reason_names_the_other_candidates_and_why_they_lost() -> None:
    pool = [FP32, BF16, candidate("openvino-int8", 20.0, 0.97), candidate("onnxruntime-int8", 45.0, 0.995)]
    reason = choose(pool, Budget(0.99)).reason
    assert "openvino-int8 loses the features (fidelity 0.97000)" in reason
    assert "onnxruntime-int8 does not pay (45.00 ms)" in reason
    assert "fp32" in reason


def test_the_reason_names_no_candidate_twice() -> None:
    reason = choose([FP32, BF16, candidate("openvino-int8", 80.0, 0.5)], Budget(0.99)).reason
    assert reason.count("openvino-int8") == 1
    assert reason.count("openvino-bf16") == 1


# --- refusals


def test_nothing_within_the_budget_is_a_fidelity_error() -> None:
    int8 = candidate("openvino-int8", 20.0, 0.97), candidate("onnxruntime-int8", 20.0, 0.9812)
    with pytest.raises(FidelityError, match=r"--min-fidelity 0\.99") as caught:
        choose(int8, Budget(0.99))
    assert caught.value.exit_code == 7
    assert caught.value.evidence == ("openvino-int8: 0.97000", "onnxruntime-int8: 0.98120")
    assert "--min-fidelity 0.9812" in caught.value.remedy


def test_the_remedy_s_figure_would_do() -> None:
    """Rounded up it would be refused again."""
    int8 = candidate("openvino-int8", 20.0, 0.98126)
    with pytest.raises(FidelityError) as caught:
        choose([int8], Budget(0.99))
    advised = float(caught.value.remedy.split("--min-fidelity ")[1])
    assert choose([int8], Budget(advised)).candidate is int8


def test_no_bound_is_suggested_if_the_features_are_lost_altogether() -> None:
    with pytest.raises(FidelityError) as caught:
        choose([candidate("openvino-int8", 20.0, -0.3)], Budget(0.99))
    assert "accept" not in caught.value.remedy


def test_candidates_that_did_not_run_are_no_fidelity_error() -> None:
    pool = [candidate("openvino-int8", None, None, problem="refused: why"), candidate("onnxruntime-int8", None, problem="died")]
    with pytest.raises(RuntimeFailure, match="No candidate could be run") as caught:
        choose(pool, Budget(0.99))
    assert caught.value.exit_code == 10
    assert caught.value.evidence == ("openvino-int8: refused: why", "onnxruntime-int8: died")


def test_no_candidates_at_all_are_refused() -> None:
    with pytest.raises(RuntimeFailure):
        choose([], Budget(0.99))


# --- before all is measured, and where nothing is


def test_candidates_that_may_still_be_chosen_are_finalists() -> None:
    candidates = [FP32, candidate("openvino-int8", None, 0.995), candidate("onnxruntime-int8", None, 0.9), BF16]
    assert finalists(candidates, Budget(0.99), {0: 60.0, 1: 25.0, 2: 5.0, 3: 25.0 * (1 + IN_QUESTION)}) == {1, 3}
    assert finalists(candidates, Budget(0.99), {0: 60.0, 2: 5.0}) == {0}, "whoever loses the features is no measure of speed"
    assert finalists(candidates, Budget(0.9999999), {1: 25.0}) == set()


def test_the_candidate_that_choose_prefers_is_always_a_finalist() -> None:
    """The heat is rougher than the choice: its margin must be the wider one."""
    assert IN_QUESTION > NEAR


def test_a_board_tries_the_lowest_precision_first() -> None:
    foreseen = [candidate(name, None, cosine) for name, cosine in (("t-fp32", 1.0), ("t-fp16", 0.9999), ("t-int8", 0.995))]
    found = choose_unmeasured(foreseen, Budget(0.99))
    assert found.candidate.name == "t-int8"
    assert "then fp16 and fp32" in found.reason
    assert "simulated" in found.reason
    stricter = choose_unmeasured(foreseen, Budget(0.999))
    assert stricter.candidate.name == "t-fp16"
    assert "t-int8 loses the features (fidelity 0.99500)" in stricter.reason


def test_what_a_board_tries_is_named_by_variant() -> None:
    """int8 has two forms, and each is a graph of its own; recipes are none."""
    cosines = {"t-fp32": 1.0, "t-fp16": 0.9999, "t-int8-static": 0.995, "t-int8-static-folded": 0.995, "t-int8-smooth": 0.994}
    foreseen = [candidate(name, None, cosine) for name, cosine in cosines.items()]
    actual = choose_unmeasured(foreseen, Budget(0.99))
    assert actual.candidate.name == "t-int8-static"
    assert "t-int8-static is what a board tries first, then int8-folded, fp16 and fp32;" in actual.reason
    folded = choose_unmeasured([foreseen[0], foreseen[3]], Budget(0.99))
    assert "t-int8-static-folded is what a board tries first, then fp32;" in folded.reason
    assert "first;" in choose_unmeasured(foreseen[:1], Budget(0.99)).reason


def test_without_measurements_the_target_s_order_decides() -> None:
    order = ("w8", "fp16", "w4", "fp32")
    built = [candidate(name, None, cosine) for name, cosine in (("c-fp16", 0.9999), ("c-w8", 0.995), ("c-w4", 0.9))]
    found = choose_first(built, Budget(0.99), order)
    assert found.candidate.name == "c-w8"
    assert "w8, fp16, w4, fp32" in found.reason
    assert "c-w4 loses the features (fidelity 0.90000)" in found.reason
    assert choose_first(built, Budget(0.999), order).candidate.name == "c-fp16"
    with pytest.raises(FidelityError):
        choose_first(built[2:], Budget(0.99), order)
    with pytest.raises(RuntimeFailure):
        choose_first([candidate("c-w8", None, problem="refused")], Budget(0.99), order)


def test_a_graph_that_a_board_refuses_is_not_tried_first() -> None:
    refused = candidate("t-int8", None, 0.999, problem="TensorRT 10.3 refuses it")
    assert choose_unmeasured([candidate("t-fp16", None), refused], Budget(0.99)).candidate.name == "t-fp16"
    with pytest.raises(RuntimeFailure) as caught:
        choose_unmeasured([refused], Budget(0.99))
    assert "TensorRT 10.3 refuses it" in caught.value.evidence[0]
    with pytest.raises(FidelityError):
        choose_unmeasured([candidate("t-int8", None, 0.5)], Budget(0.99))


def test_until_a_board_has_spoken_counted_instructions_are_its_order() -> None:
    """Also those of the same model at another size, which is then named."""
    profile = resolve("cpu-raspberry-pi-5", facts())
    assert isinstance(profile, CpuProfile)
    built = [candidate(name, None, 1.0) for name in ("onnxruntime-int8-static", "onnxruntime-int8-mixed", "openvino-fp32")]
    counts = Counts(
        model="vits16", size="112x112", cpu="cortex-a76", evidence=Evidence.EMULATED, source="a test",
        million_instructions={"onnxruntime-int8-static": 300, "onnxruntime-int8-mixed": 290, "openvino-fp32": 500},
    )  # fmt: skip
    found = choose_on_cpu(built, Budget(0.99), profile, counts, "112x112")
    assert found.candidate.name == "onnxruntime-int8-mixed"
    assert "(of those counted it executes the fewest instructions, 290 million a frame, emulated)" in found.reason
    assert "290 million a frame of 112x112, emulated" in choose_on_cpu(built, Budget(0.99), profile, counts, "480x640").reason
    uncounted = choose_on_cpu(built, Budget(0.99), profile, None, "112x112")
    assert uncounted.candidate.precision == "int8"
    assert "counted" not in uncounted.reason
